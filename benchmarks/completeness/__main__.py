"""How often the decoder answers damaged images as whole ones, and calls whole ones damaged, by format and writer.

    python -m benchmarks.completeness [--pictures 90] [--damages 2] [--images DIR ...]

Draws pictures (or takes those under `--photographs`), writes each in every way, and damages each file in `--damages`
ways. `--images` adds the files of folders as they are, and damages them too. A damaged file whose pixels are unchanged
is harmless, and does not count. 90 pictures make 10,000 whole files where all programs are installed, and take about 20
minutes on two cores.
"""

from __future__ import annotations

import argparse
import random
import subprocess
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.completeness.damage import damaged
from benchmarks.completeness.pictures import drawn
from benchmarks.completeness.writers import writers
from model_layer import DecodedImage, ImageRejectedError, decode

SIZE = 224
Tally = Counter[tuple[str, str, str, str]]
"""Of (format, writer, damage, outcome); the damage of a whole file is ''."""


def _outcome(data: bytes) -> DecodedImage | str:
    try:
        return decode(data, SIZE)
    except ImageRejectedError as error:
        return error.code


def judge(data: bytes, kind: str, writer: str, damages: int, rng: random.Random) -> Tally:
    """The decoder's outcomes for a whole file, and for it damaged in several ways."""
    whole = _outcome(data)
    tally: Tally = Counter({(kind, writer, "", whole if isinstance(whole, str) else "answered"): 1})
    if isinstance(whole, str):
        return tally
    for _ in range(damages):
        made = damaged(data, kind, rng)
        if made is None:
            continue
        sort, broken = made
        found = _outcome(broken)
        if isinstance(found, str):
            tally[kind, writer, sort, found] += 1
        elif np.abs(found.pixels.astype(int) - whole.pixels).max() > 1:
            tally[kind, writer, sort, "answered"] += 1
    return tally


def judge_picture(source: int | Path, damages: int, formats: tuple[str, ...]) -> Tally:
    """One picture, drawn from a seed or read from a file, in every format and by every writer."""
    picture = Image.open(source).convert("RGB") if isinstance(source, Path) else drawn(source)
    seed, tally = source.name if isinstance(source, Path) else source, Tally()
    for kind, ways in writers().items():
        if formats and kind not in formats:
            continue
        for name, write in ways.items():
            try:
                data = write(picture)
            except (OSError, subprocess.CalledProcessError):
                tally[kind, name, "", "not written"] += 1
                continue
            tally += judge(data, kind, name, damages, random.Random(f"{seed} {kind} {name}"))
    return tally


def judge_file(path: Path, damages: int) -> Tally:
    """A real file."""
    data = path.read_bytes()
    kind = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"RI": "webp", b"GI": "gif", b"BM": "bmp"}.get(data[:2], "other")
    return judge(data, kind, "real", damages if kind != "other" else 0, random.Random(path.name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.completeness", description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=90)
    parser.add_argument("--first", type=int, default=0, help="seed of the first picture")
    parser.add_argument("--photographs", type=Path, help="write these instead of drawn pictures, evenly picked")
    parser.add_argument("--damages", type=int, default=2, help="of each file")
    parser.add_argument("--formats", nargs="*", default=[])
    parser.add_argument("--images", nargs="*", type=Path, default=[])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--details", action="store_true", help="by writer and damage")
    given = parser.parse_args()
    sources: list[int | Path] = list(range(given.first, given.first + given.pictures))
    if given.photographs:
        photographs = _images([given.photographs])
        sources = list(photographs[:: max(1, len(photographs) // given.pictures)][: given.pictures])
    files = _images(given.images)
    tally = Tally()
    with ProcessPoolExecutor(given.processes) as pool:
        count = len(sources)
        for part in pool.map(judge_picture, sources, [given.damages] * count, [tuple(given.formats)] * count):
            tally += part
        for part in pool.map(judge_file, files, [given.damages] * len(files), chunksize=50):
            tally += part
    report(tally, details=given.details)


def _images(folders: list[Path]) -> list[Path]:
    return sorted(file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".heic"}
_NO_ALARM = {"answered", "blank", "too_small"}
_SHOWN = {"incomplete", "truncated", "corrupt", "answered", "not written"}


def report(tally: Tally, *, details: bool) -> None:
    """Prints a row for each format, and with `details` for each writer and damage."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for (kind, writer, sort, outcome), number in tally.items():
        for row in {kind, *([f"{kind}: {writer}", f"{kind}; {sort}"] if details else [])}:
            if outcome == "not written":
                rows[row][outcome] += number
            elif sort:
                rows[row]["damaged"] += number
                rows[row]["missed"] += number * (outcome == "answered")
                rows[row][outcome] += number
            else:
                rows[row]["whole"] += number
                rows[row]["alarms"] += number * (outcome not in _NO_ALARM)
                rows[row]["whole as incomplete"] += number * (outcome == "incomplete")
    print(f"{'':36}{'whole':>7}{'called incomplete':>19}{'other':>6}{'damaged':>9}{'rejected':>10}  by code")
    for row, counts in sorted(rows.items()):
        share = 1 - counts["missed"] / max(1, counts["damaged"])
        codes = {code: n for code, n in counts.most_common() if code in _SHOWN}
        other = counts["alarms"] - counts["whole as incomplete"]
        print(
            f"{row:36}{counts['whole']:7}{counts['whole as incomplete']:19}{other:6}"
            f"{counts['damaged']:9}{share:10.1%}  {codes}"
        )


if __name__ == "__main__":
    main()
