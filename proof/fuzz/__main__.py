"""Coverage-guided fuzzing of the decoder, to find inputs that nobody thought of.

    make fuzz SECONDS=120          (or: python -m proof.fuzz --seconds 120 --out build/fuzz)

atheris (libFuzzer) mutates files of the test corpus, keeps those that reach new lines of `model_layer.decoding` or of
Pillow's parsers, and mutates them further. The C decoders behind them run without instrumentation, and a crash of
theirs ends the run. OUT keeps the files found, which start the next run. A file that breaks a promise, such as taking
more than two seconds, is left in OUT as crash-*, timeout-* or oom-*; `python -m proof.fuzz FILE` runs only that file.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

with atheris.instrument_imports(include=["model_layer.decoding", "PIL", "pillow_heif"]):
    from proof.fuzz.promises import check_promises, with_right_checksums

from hostile.corpus import ENCODERS, malformed, sound  # noqa: E402 (of tests/, which is on the path only now)
from hostile.fillers import FILES  # noqa: E402

EVERY = 7
"""Takes one malformed file in so many, since fuzzing makes more by itself."""
FILLED = 2000
"""Bytes of filler: few, to leave room for more."""
MOST_BYTES = 30_000
SECONDS_AN_INPUT = 20
MEGABYTES = 1500
"""libFuzzer's limits, for inputs that never end. The decoder has its own."""


def _mutated(data: bytes, most: int, _seed: int) -> bytes:
    return with_right_checksums(atheris.Mutate(data, most))[:most]


def _write_seeds(folder: Path) -> int:
    """Writes the test corpus, files of up to `MOST_BYTES`, into `folder`; returns the number of files."""
    files = [sound(kind) for kind in ENCODERS]
    files += [data for number, (_, _, data) in enumerate(malformed()) if number % EVERY == 0]
    files += [make(FILLED) for makers in FILES.values() for make in makers.values()]
    for data in files:
        if len(data) <= MOST_BYTES:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(list(folder.iterdir()))


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
    # Removed here, before the next run, because libFuzzer ends the process without returning.
    seeds = given.out / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir()
    written, earlier = _write_seeds(seeds), len(list(found.iterdir()))
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
