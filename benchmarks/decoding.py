"""What decoding costs, by format: our decoder against Pillow's in full, and the peak memory of ours.

    python -m benchmarks.decoding [--megapixels 12] [--rounds 9] [--out FILE]

Drawn pictures with noise, one child process for each file. Times are CPU seconds of the process, which other programs
hardly change; the two decoders take turns. 12 megapixels take about two minutes, most of it for encoding HEIC. At the
limit: `--megapixels 201.326592 --rounds 1 --formats baseline.jpg progressive420.jpg`, which takes 5 GB of memory.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from benchmarks.machine import memory_mb

SIZE = 224
Encode = Callable[[Image.Image, Path], None]


def _grey16(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


ENCODERS: dict[str, Encode] = {
    "baseline.jpg": lambda picture, file: picture.save(file, quality=90),
    "progressive.jpg": lambda picture, file: picture.save(file, quality=90, progressive=True, subsampling=0),
    "progressive420.jpg": lambda picture, file: picture.save(file, quality=80, progressive=True, subsampling=2),
    "rgb.png": lambda picture, file: picture.save(file, compress_level=1),
    "alpha.png": lambda picture, file: picture.convert("RGBA").save(file, compress_level=1),
    "palette.png": lambda picture, file: picture.quantize(64, dither=Image.Dither.NONE).save(file, compress_level=1),
    "grey16.png": lambda picture, file: _grey16(picture).save(file, compress_level=1),
    "lzw.tif": lambda picture, file: picture.save(file, compression="tiff_lzw"),
    "lossy.webp": lambda picture, file: picture.save(file, quality=80, method=0),
    "rgb.bmp": lambda picture, file: picture.save(file),
    "grey.gif": lambda picture, file: picture.convert("L").save(file),
    "tiled.heic": lambda picture, file: pillow_heif.from_pillow(picture).save(file, quality=60, tile_size=512),
}


def picture(megapixels: float) -> Image.Image:
    """A smooth 4:3 picture with the noise of a camera."""
    width, height = (round((megapixels * 1e6 * ratio) ** 0.5) // 16 * 16 for ratio in (4 / 3, 3 / 4))
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(60, 230, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    noise = np.tile(rng.integers(-6, 7, (512, 512, 3), dtype=np.int16), (height // 512 + 1, width // 512 + 1, 1))
    noisy = np.asarray(smooth, dtype=np.int16) + noise[:height, :width]
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def measure(file: Path, rounds: int) -> dict[str, Any]:
    """In a process of its own: the peak memory above the file, then CPU milliseconds of both decoders in turn."""
    from model_layer.decoding import DecodingLimits, decode  # noqa: PLC0415 (after Pillow's own limit is set by it)

    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    data, limits = file.read_bytes(), DecodingLimits(2**30, 10**9)
    decode(_small(), SIZE)
    before, switch = memory_mb()["resident"], Path("/proc/self/clear_refs")
    if switch.exists():  # only on Linux can a process forget its peak so far
        switch.write_text("5", "ascii")
    pixels = decode(data, SIZE, limits).pixels
    peak = memory_mb()["peak"] - before
    pairs = [(_cpu_ms(lambda: decode(data, SIZE, limits)), _cpu_ms(lambda: in_full(data))) for _ in range(rounds)]
    difference = np.abs(pixels.astype(int) - in_full(data))
    return {
        "file": file.name,
        "file_mb": len(data) / 1e6,
        "ours_ms": statistics.median(ours for ours, _ in pairs),
        "full_ms": statistics.median(full for _, full in pairs),
        "ratio": statistics.median(ours / full for ours, full in pairs),
        "ratio_spread": [min(ours / full for ours, full in pairs), max(ours / full for ours, full in pairs)],
        "mean_difference": float(difference.mean()),
        "peak_mb": peak,
    }


def in_full(data: bytes) -> np.ndarray:
    """What most programs do: decode every pixel, set upright, resize the centre square with antialiasing."""
    image: Image.Image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box), np.int16)


def _cpu_ms(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1000


def _small() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--formats", nargs="*", default=list(ENCODERS), choices=list(ENCODERS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.file:
        print(json.dumps(measure(given.file, given.rounds)))
        return
    rows = []
    drawn = picture(given.megapixels)
    print(f"{drawn.width} x {drawn.height} pixels, medians of {given.rounds} rounds, CPU ms")
    print(f"{'file':16}{'MB':>7}{'ours':>8}{'full':>8}{'ratio':>7}  {'spread':12}{'difference':>10}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.formats:
            file = Path(folder) / name
            ENCODERS[name](drawn, file)
            command = [sys.executable, "-m", "benchmarks.decoding", "--file", str(file), "--rounds", str(given.rounds)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (this module)
            row = json.loads(run.stdout)
            file.unlink()
            rows.append(row)
            spread = "{:.2f}-{:.2f}".format(*row["ratio_spread"])
            print(
                f"{name:16}{row['file_mb']:7.1f}{row['ours_ms']:8.0f}{row['full_ms']:8.0f}{row['ratio']:7.2f}"
                f"  {spread:12}{row['mean_difference']:10.2f}{row['peak_mb']:9.0f}",
                flush=True,
            )
    if given.out:
        given.out.write_text(json.dumps({"size": drawn.size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
