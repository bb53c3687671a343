"""The process of the embedded AWS; started by `infra.embedded_aws`, never by hand.

    python -P emulator_process.py LISTENING_FD SCRATCH_FOLDER

Serves ministack on a socket that its parent has already bound, so that no other program can take the port in between.
It lives as long as its standard input: however the parent ends, even by SIGKILL, the pipe closes, the scratch folder is
removed and the process ends.
"""

import asyncio
import os
import shutil
import sys
import threading

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app  # type: ignore[import-untyped]


def main() -> None:
    descriptor, scratch = int(sys.argv[1]), sys.argv[2]
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()
    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.keep_alive_timeout = 75  # seconds; longer than boto3 keeps an idle connection, so it never meets a reset
    config.loglevel = "WARNING"
    asyncio.run(serve(app, config))


def _end_with_parent(scratch: str) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
