"""The records of the files of a submission: looked up once, or until each file has one."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from handler.aws import DELETED, OVERWRITTEN, aws_code
from handler.store.record import object_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from cli.manifest import Sent
    from handler.store.precedence import Precedence
    from handler.store.record import Record
    from handler.store.table import PredictionsTable

THREADS = 16
TOGETHER = 256
POLL_SECONDS = 1.0
_ROUNDS_TO_GONE = 30
# A worker writes `failed` before a risky try and when its retries are used up; a success replaces it within seconds.
_FAILED_FOR = timedelta(seconds=60)


def look_up(
    table: PredictionsTable, precedence: Precedence, sent: Collection[Sent]
) -> Iterator[tuple[Sent, Record | None]]:
    """The current record of each of `sent`, in order; None where there is none (yet)."""

    def current(one: Sent) -> Record | None:
        return next(iter(precedence.current(_records(table, one.image, one.object_version))), None)

    asked = list(sent)
    with ThreadPoolExecutor(THREADS, "look-up") as threads:
        for start in range(0, len(asked), TOGETHER):
            group = asked[start : start + TOGETHER]
            yield from zip(group, threads.map(current, group), strict=True)


def gone(s3: Any, sent: Sequence[Sent]) -> set[Sent]:
    """Those of `sent` that are no longer in the bucket, so that no record of them will come."""

    def is_gone(one: Sent) -> bool:
        version = {"VersionId": one.version} if one.version else {"IfMatch": f'"{one.etag}"'}
        try:
            s3.head_object(Bucket=one.bucket, Key=one.key, **version)
        except ClientError as error:
            return aws_code(error) in DELETED | OVERWRITTEN
        return False

    with ThreadPoolExecutor(THREADS, "look-up") as threads:
        return {one for one, away in zip(sent, threads.map(is_gone, sent), strict=True) if away}


def follow(
    table: PredictionsTable,
    precedence: Precedence,
    s3: Any,
    sent: Iterable[Sent],
    seconds: float,
    on_record: Callable[[], None],
) -> tuple[dict[Sent, Record], set[Sent]]:
    """Looks the records up until each of `sent` has its final one or is gone, at most for `seconds`.

    Returns the records, and those of `sent` that still wait for a final one. Calls `on_record` for each that does not.
    """
    found: dict[Sent, Record] = {}
    pending = list(dict.fromkeys(sent))
    deadline = time.monotonic() + seconds
    for rounds in itertools.count():
        left = []
        for one, record in look_up(table, precedence, pending):
            if record:
                found[one] = record
            if record and _is_settled(record):
                on_record()
            else:
                left.append(one)
        if rounds % _ROUNDS_TO_GONE == 0:
            away = gone(s3, [one for one in left if one not in found])
            left = [one for one in left if one not in away]
            for _ in away:
                on_record()
        pending = left
        if not pending or time.monotonic() >= deadline:
            return found, set(pending)
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    raise AssertionError


def _is_settled(record: Any) -> bool:
    since = datetime.fromisoformat(record["predicted_at"])
    return record["status"] != "failed" or datetime.now(UTC) - since > _FAILED_FOR


def latest(table: PredictionsTable, image: str, upload_version: str) -> Record | None:
    """The newest record of one upload, under whichever model."""
    return max(_records(table, image, upload_version), key=lambda record: record["predicted_at"], default=None)


def _records(table: PredictionsTable, image: str, upload_version: str) -> list[Record]:
    return [record for record in table.history(image) if object_version(record["version"]) == upload_version]
