"""python -m infra.soak: see `--help`, and docs/operations.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from infra.soak.clouds import CLOUDS
from infra.soak.run import soak
from infra.soak.verdict import table
from infra.tiny_bundle import write_tiny_bundle


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.soak",
        description="Uploads small rendered images under injected faults, and counts what became of each.",
    )
    parser.add_argument("-n", type=int, default=10_000, help="uploads (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="for soak.json and the workers' log")
    parser.add_argument("--seed", type=int, default=0, help="of uploads and faults (default: %(default)s)")
    parser.add_argument("--cloud", choices=CLOUDS, default="ministack", help="the emulator (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help="the model; default: a tiny one whose labels mean nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or write_tiny_bundle(Path(folder) / "tiny")
        print(f"{options.n} uploads on {options.cloud}, seed {options.seed}.", flush=True)
        verdict = soak(
            options.n,
            options.out,
            bundle,
            seed=options.seed,
            cloud=options.cloud,
            tell=lambda line: print(f"  {line}", flush=True),
        )
    print(f"\n{table(verdict)}\n\n{verdict.seconds:.0f} s; {options.out / 'soak.json'}")
    broken = verdict.broken()
    print("Every promise holds." if not broken else "Broken: " + "; ".join(broken) + ".")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
