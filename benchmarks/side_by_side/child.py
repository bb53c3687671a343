"""The child's side of `worker`: imports one of the two handlers, and answers JSON lines on what its work costs.

    python -m benchmarks.side_by_side.child ours|keras CORES [parts]

`CORES` are the processors it may use. With `parts` it takes its own start apart: each part imported and run after the
other, in milliseconds.
"""

from __future__ import annotations

import os
import sys
import time

BEGAN = time.monotonic()  # of all imports, ours too: the interpreter's own start ends here
os.sched_setaffinity(0, {int(core) for core in sys.argv[2].split(",")})  # before any library counts the cores


def main() -> None:
    # What handlers print (logs, metrics) goes to the log; the pipe is for answers alone.
    import json  # noqa: PLC0415

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    kind, mode = sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else ""
    if mode == "parts":
        from benchmarks.side_by_side.start_parts import parts  # noqa: PLC0415

        answers.write(json.dumps(parts(kind, BEGAN - float(os.environ["STARTED"]))) + "\n")
        return
    # The import that a cold start is about: nothing of the benchmark's own comes before it.
    if kind == "ours":
        from handler import app  # noqa: PLC0415
    else:
        from benchmarks import keras_worker as app  # type: ignore[no-redef]  # noqa: PLC0415
    answers.write('{"imported": true}\n')
    from benchmarks.side_by_side.commands import Commands  # noqa: PLC0415

    commands = Commands(app)
    for line in sys.stdin:
        answers.write(json.dumps(commands.answer(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
