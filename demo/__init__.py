"""`make demo`: a folder of images through the whole way, from the bucket to the table, on one machine.

command -> files (what is uploaded) -> run (upload, worker, records) -> table (what a person reads)
"""
