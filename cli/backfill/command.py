"""The command: lists, sends, tells how far it is."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.backfill import __doc__ as purpose
from cli.backfill.objects import Current, Page, message, pages
from cli.backfill.progress import Progress, ProgressError, load
from cli.backfill.sending import SendingError, send
from cli.deployed import AWS_ERRORS, Deployed, DeployedError, client, find

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when everything was sent (or counted), 1 after an error, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    file: Path = options.state or Path("build") / f"backfill-{options.stack}.json"
    how = "" if options.dry_run else f" The same command without --restart goes on from {file}."
    try:
        stack = find(options.stack)
        begun = Progress(stack.bucket, options.prefix) if options.restart else load(file, stack.bucket, options.prefix)
        if begun.sent:
            print(f"Goes on after {begun.sent:,} messages ({file}).")
        if options.dry_run:
            return _count(stack, begun)
        if options.restart:
            file.unlink(missing_ok=True)
        return _run(stack, begun, file, options.per_second)
    except (DeployedError, ProgressError, SendingError) as error:
        print(f"backfill: {error}", file=sys.stderr)
    except AWS_ERRORS as error:
        print(f"backfill: {error}{how}", file=sys.stderr)
    except OSError as error:  # of the progress file
        print(f"backfill: {error.filename or file}: {error.strerror}.", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\nStopped.{how}", file=sys.stderr)
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cli.backfill",
        description=purpose,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--stack", required=True, help="name of the stack")
    parser.add_argument("--prefix", default="", help="only keys that begin so; default: all")
    parser.add_argument("--dry-run", action="store_true", help="count what would still be sent, send nothing")
    parser.add_argument("--per-second", type=float, default=0, help="so many messages a second on average; 0: no limit")
    parser.add_argument("--state", type=Path, help="file for the progress; default: build/backfill-STACK.json")
    parser.add_argument("--restart", action="store_true", help="forget the progress, begin anew")
    return parser


def _count(stack: Deployed, progress: Progress) -> int:
    objects = size = archived = 0
    for page in pages(client("s3"), stack.bucket, progress.prefix, progress.place):
        readable = _readable(page)
        objects += len(readable)
        size += sum(found.size for found in readable)
        archived += len(page.objects) - len(readable)
    print(f"{objects:,} objects of {size / 2**20:,.1f} MB would be sent to {stack.bulk_queue_url}. Nothing was sent.")
    _tell_archived(archived)
    return 0


def _run(stack: Deployed, progress: Progress, file: Path, per_second: float) -> int:
    sqs = client("sqs")
    started, before = time.monotonic(), progress.sent
    for page in pages(client("s3"), stack.bucket, progress.prefix, progress.place):
        send(sqs, stack.bulk_queue_url, [message(stack.bucket, found) for found in _readable(page)])
        progress = _after(progress, page)
        # After the messages, never before: who is stopped between the two sends a page twice, and the worker knows it.
        progress.save(file)
        seconds = time.monotonic() - started
        rate = (progress.sent - before) / seconds if seconds else 0.0
        print(f"{progress.sent:>12,} sent, {rate:,.0f} a second", flush=True)
        if per_second:
            time.sleep(max(0.0, (progress.sent - before) / per_second - seconds))
    file.unlink(missing_ok=True)
    print(f"Done: {progress.sent:,} messages are in the bulk lane ({stack.bulk_queue_url}).")
    _tell_archived(progress.archived)
    return 0


def _after(progress: Progress, page: Page) -> Progress:
    sent = len(_readable(page))
    archived = progress.archived + len(page.objects) - sent
    return replace(progress, place=page.after or progress.place, sent=progress.sent + sent, archived=archived)


def _readable(page: Page) -> list[Current]:
    return [found for found in page.objects if not found.archived]


def _tell_archived(count: int) -> None:
    if count:
        print(
            f"{count:,} archived objects were skipped (GLACIER, DEEP_ARCHIVE). Each is classified once it is restored."
        )
