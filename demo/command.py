"""The command line of `make demo`."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from demo.errors import DemoError
from demo.files import draw_synthetic, files_in
from demo.run import Demo, quiet_handler
from demo.table import Table, summary
from handler.store.record import NOTICE
from infra.embedded_aws import EmulatorError, embedded_aws
from infra.stack import StackError, deploy
from infra.template import TemplateError
from pictures import MOST_CARDS, contact_sheet
from pictures.names import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COUNT, SEED = 24, 0
# Small batches, none waited for: rows appear as the worker goes, instead of all at the end.
# The demo deletes objects to make room for others; their records are what it shows.
PARAMETERS: dict[str, str | int] = {"BatchSize": 8, "BatchWindowSeconds": 0, "EraseRemoved": "false"}


class StoppedError(KeyboardInterrupt):
    """SIGTERM came. As with Ctrl-C, everything that was started is stopped on the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit status: 0, 1 when it could not be done, 130 or 143 when it was stopped."""
    options = _options(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal can't show is no reason to fail
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGTERM, _stop)
    try:
        return _demo(options.images, options.out, options.count, options.seed)
    except (DemoError, EmulatorError, StackError, TemplateError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # the disk is full, say, while results are written
        print(f"demo: {error.strerror or error}: {error.filename or options.out}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print("\ndemo: stopped; the embedded AWS is gone, and what is written so far is kept.", file=sys.stderr)
        return 143 if isinstance(error, StoppedError) else 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Uploads images into a bucket of an embedded AWS, lets the worker classify them, and shows the "
        f"predictions. {NOTICE}",
    )
    parser.add_argument("--images", metavar="DIR", help="your own pictures: every file in DIR and below; "
                        "by default, synthetic ones are drawn")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", default="build/demo", help="where the results go (%(default)s)")
    parser.add_argument("--count", metavar="N", type=_whole, help=f"how many synthetic images ({COUNT})")
    parser.add_argument("--seed", metavar="S", type=_whole, help=f"which synthetic images ({SEED})")
    options = parser.parse_args(arguments)
    if options.images and (options.count is not None or options.seed is not None):
        parser.error("--count and --seed choose synthetic images; they don't go with --images")
    if options.count == 0:
        parser.error("--count must be at least 1")
    options.images = Path(options.images) if options.images else None
    options.out = Path(options.out)
    options.count = COUNT if options.count is None else options.count
    options.seed = SEED if options.seed is None else options.seed
    return options


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 999999999")
    return int(text)


def _demo(images: Path | None, out: Path, count: int, seed: int) -> int:
    results, sheet, log_file = (out / name for name in ("predictions.jsonl", "contact-sheet.png", "worker.log"))
    drawn = out / "synthetic-images"
    files = files_in(images, besides=(results, sheet, log_file, drawn)) if images else {}
    with contextlib.ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            output = stack.enter_context(results.open("w", encoding="utf-8"))
            log = stack.enter_context(log_file.open("w", encoding="utf-8", buffering=1))
            sheet.unlink(missing_ok=True)  # one of an earlier run would be taken for this one's
            if not images:
                print(f"Drawing {count} synthetic images (seed {seed}) into {drawn}; their labels will mean nothing.")
                files = draw_synthetic(drawn, seed, count, _counter(count))
        except OSError as error:
            raise DemoError(f"The results cannot be written to {out}: {error.strerror}.") from error

        print("Starting an embedded AWS, deploying template.yaml to it, loading the model.", flush=True)
        endpoint = stack.enter_context(embedded_aws())
        deployed = deploy(endpoint, parameters=PARAMETERS)
        handler = quiet_handler(deployed, log)
        print(f"Uploading {len(files):,} files to s3://{deployed.bucket} at {endpoint.url}\n", flush=True)
        table = Table(files, sys.stdout)
        table.head()

        def keep(records: Sequence[Mapping[str, Any]]) -> None:
            output.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            output.flush()
            table.rows(records)

        started = time.monotonic()
        demo = Demo(deployed, handler, keep)
        demo.process(files)
        seconds = time.monotonic() - started
        shown = contact_sheet(
            demo.records, lambda key: files[key].read_bytes(), sheet, synthetic=not images, seconds=seconds
        )
    print(f"\n{summary(demo.records, len(files), seconds)}\n{NOTICE}\n\n{results}\n{sheet}")
    if shown < len(demo.records):
        print(f"The contact sheet shows {shown} of them (at most {MOST_CARDS}).")
    for key, reason in demo.unread.items():
        print(f"demo: {one_line(key)} was not uploaded: {reason}.", file=sys.stderr)
    return 1 if demo.unread else 0


def _counter(total: int) -> Callable[[int], None]:
    """Shows in a terminal how many of `total` are done; elsewhere it would only litter a log."""

    def show(done: int) -> None:
        if sys.stdout.isatty():
            print(f"\r{done:,} of {total:,}", end="\n" if done == total else "", flush=True)

    return show


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise StoppedError
