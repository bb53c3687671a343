"""Sends the objects that are already in the bucket through the bulk lane.

    dermbatch backfill --stack dermbatch --prefix 2026/ --dry-run

run        counts or sends page by page, and keeps the progress in a file; `dermbatch reconcile` is a mode of it
inventory  reads an S3 Inventory instead of a listing
choice     which of the objects are sent
estimate   what a backfill will cost, and how long it will take

`handler` has what the function on a schedule needs too: the listing and the messages (`handler.store.objects`), which
objects have no record (`handler.store.unrecorded`), and the way into the lane (`handler.lanes`).
"""
