"""Keys of the table's two indexes, spread so that no day's label or problem is one hot partition. Pure.

A DynamoDB partition takes 1,000 writes of up to 1 KB a second, and an index entry here is well under 1 KB. At 10,000
images/s of one label, 16 shards take 625 writes/s each, and 16,000/s is where a seventeenth would be needed. A
question then takes 16 small queries for each of its days.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from handler.record import Record

SHARDS = 16
"""May be raised, never lowered: a past day's records stay in the shards that they were written to."""

BY_LABEL = "by_label"
BY_PROBLEM = "by_problem"
INDEX_KEYS = frozenset({"label_shard", "confidence_rank", "problem_shard"})
"""The attributes that are there for the indexes alone."""

_LABELLED = frozenset({"classified", "referred"})
_PROBLEMS = frozenset({"referred", "rejected", "superseded", "failed"})


def index_keys(record: Record) -> dict[str, str]:
    """The attributes that put `record` into its indexes."""
    digest = hashlib.sha256(record["image"].encode()).hexdigest()
    day, shard = record["predicted_at"][:10], int(digest[:8], 16) % SHARDS
    keys = {}
    if record["status"] in _LABELLED:
        keys["label_shard"] = f"{record['label']}#{day}#{shard}"
        # Of fixed width, so that text order is the order of confidence; the digest parts equal ones evenly.
        keys["confidence_rank"] = f"{record['confidence']:.6f}#{digest[:12]}"
    if record["status"] in _PROBLEMS:
        keys["problem_shard"] = f"{record['status']}#{day}#{shard}"
    return keys


def shards(subject: str, days: Iterable[date]) -> list[str]:
    """All index partitions of `subject` (a label or a status) on `days` (of `predicted_at`, in UTC)."""
    return [f"{subject}#{day.isoformat()}#{shard}" for day in sorted(set(days)) for shard in range(SHARDS)]
