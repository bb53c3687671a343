"""`make demo`: a folder of images through the whole system, from the bucket to the table, on one machine.

run        the whole demo, top to bottom
files      the files to upload
uploads    puts them into the bucket, runs the worker, collects the records
table      the records in a terminal
lesions    synthetic images, for when nobody brings their own
"""
