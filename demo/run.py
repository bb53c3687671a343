"""The whole demo: from image files to a table, `predictions.jsonl` and the contact sheet."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from demo.files import DemoError, draw_synthetic, files_in
from demo.table import Table, summary
from demo.uploads import Uploads, quiet_handlers
from handler.store.record import NOTICE
from infra.embedded_aws import embedded_aws
from infra.stack import deploy
from pictures.names import one_line
from pictures.sheet import MOST_CARDS, contact_sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

COUNT, SEED = 24, 0
# Small batches without a window, so that rows appear while the worker runs, instead of all at the end.
# EraseRemoved is off because the demo deletes objects to save memory, and shows their records.
PARAMETERS: dict[str, str | int] = {"BatchSize": 8, "BatchWindowSeconds": 0, "EraseRemoved": "false"}


def demo(images: Path | None, out: Path, count: int, seed: int) -> int:
    """Classifies the files below `images`, or `count` synthetic ones, and writes the results to `out`.

    Returns 0, or 1 if a file could not be read.

    Raises:
        UserError: the demo cannot start, or an upload gets no record.
    """
    results, sheet, log_file = (out / name for name in ("predictions.jsonl", "contact-sheet.png", "worker.log"))
    drawn = out / "synthetic-images"
    files = files_in(images, besides=(results, sheet, log_file, drawn)) if images else {}
    with contextlib.ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            output = stack.enter_context(results.open("w", encoding="utf-8"))
            log = stack.enter_context(log_file.open("w", encoding="utf-8", buffering=1))
            sheet.unlink(missing_ok=True)  # or an older sheet could be mistaken for this run's
            if not images:
                print(f"Drawing {count} synthetic images (seed {seed}) into {drawn}; their labels will mean nothing.")
                files = draw_synthetic(drawn, seed, count, _counter(count))
        except OSError as error:
            raise DemoError(f"The results cannot be written to {out}: {error.strerror}.") from error

        print("Starting an embedded AWS, deploying template.yaml to it, loading the model.", flush=True)
        endpoint = stack.enter_context(embedded_aws())
        deployed = deploy(endpoint, parameters=PARAMETERS)
        worker, housekeeper = quiet_handlers(deployed, log)
        print(f"Uploading {len(files):,} files to s3://{deployed.bucket} at {endpoint.url}\n", flush=True)
        table = Table(files, sys.stdout)
        table.head()

        def keep(records: Sequence[Mapping[str, Any]]) -> None:
            output.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            output.flush()
            table.rows(records)

        started = time.monotonic()
        uploads = Uploads(deployed, worker, keep, housekeeper=housekeeper)
        uploads.process(files)
        seconds = time.monotonic() - started
        shown = contact_sheet(
            uploads.records, lambda key: files[key].read_bytes(), sheet, synthetic=not images, seconds=seconds
        )
    print(f"\n{summary(uploads.records, len(files), seconds)}\n{NOTICE}\n\n{results}\n{sheet}")
    if shown < len(uploads.records):
        print(f"The contact sheet shows {shown} of them (at most {MOST_CARDS}).")
    for key, reason in uploads.unread.items():
        print(f"demo: {one_line(key)} was not uploaded: {reason}.", file=sys.stderr)
    return 1 if uploads.unread else 0


def _counter(total: int) -> Callable[[int], None]:
    """Shows in a terminal how many of `total` are done; in a log it would only be noise."""

    def show(done: int) -> None:
        if sys.stdout.isatty():
            print(f"\r{done:,} of {total:,}", end="\n" if done == total else "", flush=True)

    return show
