"""The process of the embedded AWS; started by `infra.embedded_aws`, never by hand.

    python -P emulator_process.py LISTENING_FD SCRATCH_FOLDER [FILE]

Serves ministack on a socket that its parent has already bound, so that no other program can take the port in between.
It lives as long as its standard input: however the parent ends, even by SIGKILL, the pipe closes, the scratch folder is
removed and the process ends. With FILE it ends in order, which saves its state, and creates FILE once that is done.
"""

import asyncio
import os
import shutil
import sys
import threading
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app  # type: ignore[import-untyped]

SAVED = ("s3", "sqs", "dynamodb", "cloudformation")
"""The services whose state must be there for the whole to count as saved."""


def main() -> None:
    descriptor, scratch, in_order = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.keep_alive_timeout = 75  # seconds; longer than boto3 keeps an idle connection, so it never meets a reset
    config.graceful_timeout = 1.0  # for requests that wait for messages
    config.shutdown_timeout = 600.0  # saving a large state takes long
    config.loglevel = "WARNING"
    asyncio.run(_serve(config, scratch, saves=bool(in_order)))
    _mark(Path(in_order))
    _end(scratch)


async def _serve(config: Config, scratch: str, *, saves: bool) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()
        if saves:
            loop.call_soon_threadsafe(ended.set)
        else:
            _end(scratch)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    await serve(app, config, shutdown_trigger=ended.wait)


def _end(scratch: str) -> None:
    """At once: threads of the emulator may still run."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _mark(in_order: Path) -> None:
    """Creates the file, unless a service could not save its state: the emulator only logs that."""
    missing = [name for name in SAVED if not (in_order.parent / f"{name}.json").exists()]
    if missing:
        sys.stderr.write(f"The state of {', '.join(missing)} was not saved.\n")
    else:
        in_order.touch()


if __name__ == "__main__":
    main()
