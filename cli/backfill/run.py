"""Counts or sends the objects page by page, and keeps the progress in a file, so that it can stop at any moment."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from cli.backfill.objects import Current, Page, Place, message, pages
from cli.backfill.sending import send
from cli.deployed import Account, Deployed, find
from model_layer.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


class ProgressError(UserError):
    """The progress file belongs to another backfill, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything before `place` is done: `sent` messages went out, and `archived` objects were skipped."""

    bucket: str
    prefix: str
    place: Place = field(default_factory=Place)
    sent: int = 0
    archived: int = 0

    def save(self, file: Path) -> None:
        """Writes the whole file or nothing. Only its owner may read it, because it holds a key."""
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        unfinished.replace(file)


def load(file: Path, bucket: str, prefix: str) -> Progress:
    """The progress kept in `file`, or a new one if there is no file."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        progress = Progress(
            held["bucket"], held["prefix"], Place(**held["place"]), int(held["sent"]), int(held.get("archived", 0))
        )
    except FileNotFoundError:
        return Progress(bucket, prefix)
    except (ValueError, KeyError, TypeError) as error:
        raise ProgressError(f"{file} can't be read; --restart starts again.") from error
    if (progress.bucket, progress.prefix) != (bucket, prefix):
        raise ProgressError(f"{file} belongs to another backfill; give --state another file, or --restart.")
    return progress


def backfill(
    stack: str,
    prefix: str,
    file: Path,
    *,
    dry_run: bool,
    per_second: float,
    restart: bool,
    account: Account | None = None,
) -> int:
    """Returns 0 when everything was sent, or counted.

    Raises:
        UserError: the stack, the progress file or SQS does not allow it.
    """
    deployed = find(stack, account)
    begun = Progress(deployed.bucket, prefix) if restart else load(file, deployed.bucket, prefix)
    if begun.sent:
        print(f"Continues after {begun.sent:,} messages ({file}).")
    if dry_run:
        archived = _count(deployed, begun)
    else:
        if restart:
            file.unlink(missing_ok=True)
        archived = _send(deployed, begun, file, per_second)
    if archived:
        print(
            f"{archived:,} archived objects were skipped (GLACIER, DEEP_ARCHIVE). "
            "Each is classified once it is restored."
        )
    return 0


def _count(stack: Deployed, progress: Progress) -> int:
    """Prints how much is left to send; returns how many archived objects are among it."""
    objects = size = archived = 0
    for page in pages(stack.client("s3"), stack.bucket, progress.prefix, progress.place):
        readable = _readable(page)
        objects += len(readable)
        size += sum(found.size for found in readable)
        archived += len(page.objects) - len(readable)
    print(f"{objects:,} objects of {size / 2**20:,.1f} MB would be sent to {stack.bulk_queue_url}. Nothing was sent.")
    return archived


def _send(stack: Deployed, progress: Progress, file: Path, per_second: float) -> int:
    """Sends what is left; returns how many archived objects were skipped in the whole backfill."""
    sqs = stack.client("sqs")
    started, before = time.monotonic(), progress.sent
    for page in pages(stack.client("s3"), stack.bucket, progress.prefix, progress.place):
        readable = _readable(page)
        send(sqs, stack.bulk_queue_url, [message(stack.bucket, found) for found in readable])
        progress = replace(
            progress,
            place=page.after or progress.place,
            sent=progress.sent + len(readable),
            archived=progress.archived + len(page.objects) - len(readable),
        )
        # Saved after sending: an interruption between the two sends a page twice, which the worker recognises.
        progress.save(file)
        seconds = time.monotonic() - started
        rate = (progress.sent - before) / seconds if seconds else 0.0
        print(f"{progress.sent:>12,} sent, {rate:,.0f} a second", flush=True)
        if per_second:
            time.sleep(max(0.0, (progress.sent - before) / per_second - seconds))
    file.unlink(missing_ok=True)
    print(f"Done: {progress.sent:,} messages are in the bulk lane ({stack.bulk_queue_url}).")
    return progress.archived


def _readable(page: Page) -> list[Current]:
    return [found for found in page.objects if not found.archived]
