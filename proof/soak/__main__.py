"""`python -m proof.soak`: see `--help` and docs/faults.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from model_layer.errors import UserError, run_command
from proof.soak.clouds import CLOUDS
from proof.soak.pairs import HANDED_BACK, MAYBE_DEAD, enumerated, try_pairs
from proof.soak.run import soak
from proof.soak.uploads import LEAST
from proof.soak.verdict import MOST_TOLD, table
from proof.tiny_bundle import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every promise holds, 1 if one is broken or the soak could not run, 130 after Ctrl-C."""
    options = _options(arguments)
    return run_command("soak", lambda: _soak(options), "stopped; nothing was counted.")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proof.soak",
        description="Uploads small rendered images under injected faults, and counts what became of each.",
    )
    parser.add_argument("-n", type=int, default=10_000, help="uploads (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="for soak.json and the workers' log")
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=[0],
        metavar="1-20",
        help="seeds of uploads and faults, one run for each (default: 0)",
    )
    parser.add_argument("--seed", type=_seeds, dest="seeds", help=argparse.SUPPRESS)
    parser.add_argument(
        "--pairs", action="store_true", help="instead: all pairs of faults on one upload, at every receive (no -n)"
    )
    parser.add_argument("--cloud", choices=CLOUDS, default="ministack", help="the emulator (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help="the model; default: a tiny one whose labels mean nothing")
    options = parser.parse_args(arguments)
    if options.n < LEAST:
        parser.error(f"-n must be at least {LEAST}: each fault needs an upload of its own")
    return options


def _seeds(text: str) -> list[int]:
    """`3`, or a range as `1-20`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _soak(options: argparse.Namespace) -> int:
    if not hasattr(os, "pidfd_open"):
        raise UserError("The soak needs Linux: it kills and replaces processes by pidfds.")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or write_tiny_bundle(Path(folder) / "tiny")
        if options.pairs:
            holding = [_pairs(options, bundle, told_as) for told_as in (HANDED_BACK, MAYBE_DEAD)]
        else:
            several = len(options.seeds) > 1
            holding = [
                _mix(options, bundle, seed, options.out / f"seed-{seed}" if several else options.out)
                for seed in options.seeds
            ]
    if len(holding) > 1:
        print(f"\n{sum(holding)} of {len(holding)} runs hold.")
    return 0 if all(holding) else 1


def _mix(options: argparse.Namespace, bundle: Path, seed: int, out: Path) -> bool:
    """One run of the random mix; returns whether every promise holds."""
    out.mkdir(parents=True, exist_ok=True)
    print(f"{options.n} uploads on {options.cloud}, seed {seed}.", flush=True)
    verdict = soak(options.n, out, bundle, seed=seed, cloud=options.cloud, tell=_tell)
    print(f"\n{table(verdict)}\n\n{verdict.seconds:.0f} s; {out / 'soak.json'}")
    broken = verdict.broken()
    print("Every promise holds." if not broken else "Broken: " + "; ".join(broken) + ".", flush=True)
    if broken:
        _tell_story(verdict.story, out)
    return not broken


def _pairs(options: argparse.Namespace, bundle: Path, told_as: str) -> bool:
    out = options.out / told_as.replace(" ", "-")
    found = try_pairs(enumerated(), out, bundle, told_as=told_as, cloud=options.cloud, tell=_tell)
    states = ", ".join(f"{count} {status}" for status, count in sorted(found.states.items()))
    print(f"{found.pairs} pairs of faults: {states}; {found.deaths} workers died.")
    print("Every promise holds." if found.holds else f"Broken: {len(found.broken)} uploads.", flush=True)
    if not found.holds:
        _tell_story(found.told, out)
    return found.holds


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


def _tell_story(told: Sequence[str], out: Path) -> None:
    print("\n" + "\n\n".join(told[:MOST_TOLD]))
    print(f"\nAll of it: {out / 'story.txt'}; the queues' messages: {out / 'messages.json'}.")


if __name__ == "__main__":
    sys.exit(main())
