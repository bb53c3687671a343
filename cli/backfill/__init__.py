"""Sends what is already in the bucket through the bulk lane: after an import, or to score it under a new model.

    python -m cli.backfill --stack dermbatch --prefix 2026/ --dry-run

One message for each object's current version, of the same shape as S3's own events, so that the worker knows no
difference. What has a record under the running model already costs a look-up and no inference.
"""
