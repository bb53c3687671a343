"""The child of `process`: imports one of the two handlers, and answers JSON lines about what its work costs.

    python -m benchmarks.side_by_side.child ours|keras CORES [parts]

`CORES` are the processors that it may use, on systems that can pin a process. With `parts` it takes its own start apart
(`start_parts`). Nothing of the benchmark is imported before the handler, whose import a cold start is about.
"""

from __future__ import annotations

import os
import sys
import time

BEGAN = time.monotonic()  # before all imports, ours too: the interpreter's own start ends here
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(core) for core in sys.argv[2].split(",")})  # before any library counts the cores


def main() -> None:
    import json  # noqa: PLC0415

    # The handlers' own output (logs, metrics) goes to the log; the pipe is only for answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    kind = sys.argv[1]
    if sys.argv[3:] == ["parts"]:
        from benchmarks.side_by_side.start_parts import parts  # noqa: PLC0415

        answers.write(json.dumps(parts(kind, BEGAN - float(os.environ["STARTED"]))) + "\n")
        return
    if kind == "ours":
        from handler import app  # noqa: PLC0415
    else:
        from benchmarks import keras_worker as app  # type: ignore[no-redef]  # noqa: PLC0415
    answers.write('{"imported": true}\n')
    from benchmarks.side_by_side.commands import carry_out  # noqa: PLC0415

    for line in sys.stdin:
        answers.write(json.dumps(carry_out(app, json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
