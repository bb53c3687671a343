"""`python -m training.accelerator PACK --out DIR`: trains the networks of a pack, on the machine with the accelerator.

`DIR/<job>` is a run's folder: `make train OUT=DIR/<job>` continues there, and `python -m training status DIR/<job>`
shows the figures on the way.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.accelerator", allow_abbrev=False)
    parser.add_argument("pack", type=Path, help="the folder that `python -m training pack` wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", nargs="+", metavar="NAME[=VIEWS,VIEWS]", help="some of the pack's; default: all")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long with what there is")
    parser.add_argument("--cache", type=Path, help="keep compiled programs in this folder")
    parser.add_argument("--compile-only", type=int, default=0, metavar="STEPS", help="compile, and time so many steps")
    # Not earlier: each process that spoils images imports this module, and needs neither JAX nor Keras.
    from training.accelerator.program import run  # noqa: PLC0415

    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
