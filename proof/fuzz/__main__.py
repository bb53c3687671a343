"""Coverage-guided fuzzing of the decoder: finds the bytes that nobody thought of.

    make fuzz SECONDS=120          (or: python -m proof.fuzz --seconds 120 --out build/fuzz)

atheris (libFuzzer) changes files of the test corpus, keeps those that reach new lines of `model_layer.decoding` and of
Pillow's parsers, and changes them further. The C decoders behind them are not instrumented; they are run all the same,
and a crash of theirs ends the run. What was found is kept in OUT and begins the next run; a file that breaks a promise
is left in OUT as crash-*, timeout-* or oom-*, and `python -m proof.fuzz FILE` runs it alone. What takes more than two
seconds breaks one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

with atheris.instrument_imports(include=["model_layer.decoding", "PIL", "pillow_heif"]):
    from proof.fuzz.promises import check_promises, with_right_checksums

from proof.fuzz.seeds import write_seeds  # noqa: E402 (the corpus stands in tests/, which is on the path only now)

MOST_BYTES = 30_000
SECONDS_AN_INPUT = 20
MEGABYTES = 1500
"""libFuzzer's limits, for what never ends; the decoder's own are `model_layer.decoding.limits`."""


def _mutated(data: bytes, most: int, _seed: int) -> bytes:
    return with_right_checksums(atheris.Mutate(data, most))[:most]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proof.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="run these, and fuzz nothing")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz")
    given = parser.parse_args()
    if given.seconds < 1:
        parser.error("--seconds must be at least 1: libFuzzer takes 0 for no limit")
    limits = [f"-rss_limit_mb={MEGABYTES}", f"-timeout={SECONDS_AN_INPUT}", f"-max_len={MOST_BYTES}"]
    if given.files:
        atheris.Setup([sys.argv[0], *limits, *given.files], check_promises)
        atheris.Fuzz()
        return
    found = given.out / "corpus"
    found.mkdir(parents=True, exist_ok=True)
    # Not removed at the end, but here, before the next run: libFuzzer leaves the process without coming back.
    seeds = given.out / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir()
    written, earlier = write_seeds(seeds, MOST_BYTES), len(list(found.iterdir()))
    print(f"{written} seeds, {earlier} files from earlier runs, {given.seconds} s.", flush=True)
    options = [
        f"-max_total_time={given.seconds}",
        f"-artifact_prefix={given.out}/",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *limits, *options, str(found), str(seeds)], check_promises, custom_mutator=_mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
