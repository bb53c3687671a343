"""Counts or sends the objects page by page, and keeps the progress in a file, so that it can stop at any moment."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.backfill.estimate import MEGABYTES_A_CORE, in_words
from cli.backfill.inventory import Inventory, InventoryError, fetch_manifest
from cli.backfill.inventory import pages as inventory_pages
from cli.deployed import Account, Deployed, find
from cli.output import say
from handler.lanes import longest_trial, send, waiting
from handler.store.objects import Page, Place, message, pages
from handler.store.precedence import Precedence
from handler.store.unrecorded import Comparison
from model_layer.errors import UserError

PAUSE = 5.0
"""Seconds between two looks at a queue that is too deep."""

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.backfill.choice import Choice
    from handler.store.objects import Current
    from infra.embedded_aws import Endpoint


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
    question: str = ""
    """What else chose the objects: `--since`, `--model-version`, inventory, and whether only those without a record."""

    def save(self, file: Path) -> None:
        """Writes the whole file or nothing. Only its owner may read it, because it holds a key."""
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        unfinished.replace(file)


def load(file: Path, bucket: str, prefix: str, question: str = "") -> Progress:
    """The progress kept in `file`, or a new one if there is no file."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        progress = Progress(
            held["bucket"],
            held["prefix"],
            Place(**held["place"]),
            int(held["sent"]),
            int(held.get("archived", 0)),
            held.get("question", ""),
        )
    except FileNotFoundError:
        return Progress(bucket, prefix, question=question)
    except (ValueError, KeyError, TypeError) as error:
        raise ProgressError(f"{file} can't be read; --restart starts again.") from error
    if (progress.bucket, progress.prefix, progress.question) != (bucket, prefix, question):
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
    account: Account,
    choice: Choice,
    inventory: str | None,
    max_waiting: int,
    limit: int | None = None,
) -> int:
    """Returns 0 when everything was sent, or counted; 1 when `limit` messages were sent and more are left.

    Raises:
        UserError: the stack, the inventory, the progress file or SQS does not allow it.
    """
    deployed = find(stack, account)
    choice = replace(choice, system_files=not deployed.ignores_system_files)
    source = _Source(deployed, choice, _inventory(deployed, inventory))
    missing = "unrecorded" if choice.comparison else ""
    question = f"{choice.since or ''};{choice.model_version or ''};{inventory or ''};{missing}".strip(";")
    begun = (
        Progress(deployed.bucket, prefix, question=question)
        if restart
        else load(file, deployed.bucket, prefix, question)
    )
    if begun.sent:
        print(f"Continues after {begun.sent:,} messages ({file}).")
    if dry_run:
        archived, more = _count(source, begun), False
    else:
        if restart:
            file.unlink(missing_ok=True)
        archived, more = _send(source, begun, file, per_second, max_waiting, limit)
    if archived:
        print(
            f"{archived:,} archived objects were skipped (GLACIER, DEEP_ARCHIVE). "
            "Each is classified once it is restored."
        )
    if more:
        say(f"{limit:,} messages were sent, and more are left. Look why so many; the same command goes on.")
    return int(more)


def reconcile(
    stack: str,
    prefix: str,
    file: Path,
    *,
    choice: Choice,
    older_than: float | None,
    limit: int,
    dry_run: bool,
    restart: bool,
    inventory: str | None,
    account: Account,
) -> int:
    """A backfill of the objects without any record that are older than `older_than` hours; returns its exit code.

    `older_than` None means as long as a message of the live lane may be tried.
    """
    deployed = find(stack, account)
    sqs, queue = deployed.client("sqs"), deployed.outputs["LiveQueueUrl"]
    grace = timedelta(hours=older_than) if older_than is not None else longest_trial(sqs, queue)
    models = Precedence.read(deployed.client("dynamodb"), deployed.table).models
    ttl_days = int(deployed.parameters.get("RecordTtlDays", 0))
    comparison = Comparison.of(datetime.now(UTC), grace, ttl_days, models)
    if held := waiting(sqs, queue):
        say(f"{held:,} messages wait in the live lane. Uploads that they name may be sent again: a look-up each.")
    return backfill(
        stack,
        prefix,
        file,
        dry_run=dry_run,
        per_second=0,
        restart=restart,
        account=account,
        choice=replace(choice, comparison=comparison),
        inventory=inventory,
        max_waiting=limit,  # a reconciliation adds little to what already waits
        limit=limit,
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the objects are found, and which of them are meant."""

    stack: Deployed
    choice: Choice
    inventory: Inventory | None

    def pages(self, progress: Progress) -> Iterator[tuple[Page, list[Current]]]:
        """Each page that is left, with those of its objects that are to be sent."""
        table = self.stack.predictions()
        s3, bucket = self.stack.client("s3"), self.stack.bucket
        if self.inventory:
            found = inventory_pages(s3, self.inventory, progress.prefix, progress.place)
        else:
            found = pages(s3, bucket, progress.prefix, progress.place)
        for page in found:
            yield page, self.choice.of_page(page.objects, bucket, table)


def _inventory(stack: Deployed, address: str | None) -> Inventory | None:
    if address is None:
        return None
    found = fetch_manifest(stack.client("s3"), address)
    if found.bucket != stack.bucket:
        raise InventoryError(f"The inventory is of the bucket {found.bucket}, not of the stack's ({stack.bucket}).")
    return found


def _archived(page: Page) -> int:
    return sum(found.archived for found in page.objects)


def _count(source: _Source, progress: Progress) -> int:
    """Prints how much is left to send, and what that will cost; returns how many archived objects are among it."""
    objects = size = archived = 0
    for page, chosen in source.pages(progress):
        objects += len(chosen)
        size += sum(found.size for found in chosen)
        archived += _archived(page)
    stack = source.stack
    print(f"{objects:,} objects of {size / 2**20:,.1f} MB would be sent to {stack.bulk_queue_url}. Nothing was sent.")
    if objects:
        workers, memory = stack.parameters.get("BulkMaximumConcurrency"), stack.parameters.get("MemorySize")
        processor = stack.parameters.get("Architecture", "x86_64")
        print(in_words(objects, int(workers or 20), int(memory or MEGABYTES_A_CORE), processor))
    return archived


def _send(
    source: _Source, progress: Progress, file: Path, per_second: float, max_waiting: int, limit: int | None
) -> tuple[int, bool]:
    """Sends what is left, at most `limit` messages.

    Returns how many archived objects were skipped in the whole backfill, and whether more is left.
    """
    stack = source.stack
    sqs = stack.client("sqs")
    started, before = time.monotonic(), progress.sent
    for page, chosen in source.pages(progress):
        if chosen:
            _wait_for_room(sqs, stack.bulk_queue_url, max_waiting)
        if limit is not None and progress.sent - before + len(chosen) > limit:
            room = limit - (progress.sent - before)
            send(sqs, stack.bulk_queue_url, [message(stack.bucket, found) for found in chosen[:room]])
            progress.save(file)  # this page is begun again, and what was sent of it has a record by then
            return progress.archived, True
        send(sqs, stack.bulk_queue_url, [message(stack.bucket, found) for found in chosen])
        progress = replace(
            progress,
            place=page.after or progress.place,
            sent=progress.sent + len(chosen),
            archived=progress.archived + _archived(page),
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
    return progress.archived, False


def _wait_for_room(sqs: Any, queue_url: str, most: int) -> None:
    """Returns once the queue holds at most so many messages that nobody works on."""
    told = False
    while (held := waiting(sqs, queue_url)) > most:
        if not told:
            say(f"Paused: {held:,} messages wait in the bulk lane, more than {most:,}.")
            told = True
        time.sleep(PAUSE)


def send_everything(endpoint: Endpoint, bucket: str, queue_url: str) -> int:
    """Sends what is in a bucket of an emulator, and keeps no progress; returns the number of messages."""
    sent = 0
    for page in pages(endpoint.client("s3"), bucket, "", Place()):
        send(endpoint.client("sqs"), queue_url, [message(bucket, found) for found in page.objects])
        sent += len(page.objects)
    return sent
