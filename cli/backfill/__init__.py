"""Sends the objects that are already in the bucket through the bulk lane.

    dermbatch backfill --stack dermbatch --prefix 2026/ --dry-run

run        counts or sends page by page, and keeps the progress in a file; `dermbatch reconcile` is a mode of it
objects    lists the current versions in the bucket, and builds the message for each
inventory  reads an S3 Inventory instead of a listing
choice     which of the objects are sent
sending    puts messages into a queue
estimate   what a backfill will cost, and how long it will take
"""
