"""Every way to write a picture that is at hand: Pillow and libheif always, other programs where they are installed."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

Writer = Callable[[Image.Image], bytes]


def _with_alpha(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


_FORMS: dict[str, Callable[[Image.Image], Any]] = {
    "palette": lambda picture: picture.quantize(64),
    "grey16": lambda picture: Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257),
    "alpha": _with_alpha,
    "heif": pillow_heif.from_pillow,
}


def _pillow(kind: str | None, form: str = "RGB", *, animated: bool = False, **options: Any) -> Writer:
    """`form` is one of `_FORMS`, or a mode of Pillow's; an animation gets two further frames."""

    def write(picture: Image.Image) -> bytes:
        buffer, prepared = io.BytesIO(), _FORMS[form](picture) if form in _FORMS else picture.convert(form)
        if animated:
            frames = [picture.rotate(90 * turn) for turn in (1, 2)]
            prepared.save(buffer, kind, save_all=True, append_images=frames, duration=80)
        else:
            prepared.save(buffer, *([kind] if kind else []), **options)
        return buffer.getvalue()

    return write


def _program(command: str, suffix: str) -> Writer:
    """`command` with the two files' names for IN and OUT."""

    def write(picture: Image.Image) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder) / ("in.png" if command.startswith("heif-enc") else "in.ppm")
            made = Path(folder) / f"out.{suffix}"
            picture.save(given)
            words = [word.replace("OUT", str(made)) if "OUT" in word else word for word in command.split()]
            words = [str(given) if word == "IN" else word for word in words]
            subprocess.run(words, check=True, capture_output=True)  # noqa: S603 (commands of this module)
            return made.read_bytes()

    return write


def _opencv(suffix: str, *parameters: int) -> Writer:
    def write(picture: Image.Image) -> bytes:
        opencv = importlib.import_module("cv2")  # not a dependency: used where it is installed
        encoded: bytes = opencv.imencode(suffix, np.asarray(picture)[..., ::-1], list(parameters))[1].tobytes()
        return encoded

    return write


def _mozjpeg(picture: Image.Image) -> bytes:
    mozjpeg = importlib.import_module("mozjpeg_lossless_optimization")
    optimised: bytes = mozjpeg.optimize(_pillow("JPEG", quality=85)(picture))
    return optimised


_ALWAYS: dict[str, dict[str, Writer]] = {
    "jpeg": {
        "q75": _pillow("JPEG"),
        "q90": _pillow("JPEG", quality=90),
        "q100 444": _pillow("JPEG", quality=100, subsampling=0),
        "q30": _pillow("JPEG", quality=30),
        "optimised": _pillow("JPEG", quality=88, optimize=True),
        "optimised grey": _pillow("JPEG", "L", quality=88, optimize=True),
        "422": _pillow("JPEG", quality=85, subsampling=1),
        "cmyk": _pillow("JPEG", "CMYK", quality=85),
        "rgb": _pillow("JPEG", quality=85, keep_rgb=True),
        "restart each row": _pillow("JPEG", quality=85, restart_marker_rows=1),
        "restart each 5 units": _pillow("JPEG", quality=85, restart_marker_blocks=5),
        "restart each row, optimised": _pillow("JPEG", quality=85, restart_marker_rows=1, optimize=True),
        "progressive": _pillow("JPEG", quality=85, progressive=True),
        "progressive 444": _pillow("JPEG", quality=92, progressive=True, subsampling=0),
        "progressive grey": _pillow("JPEG", "L", quality=85, progressive=True),
        "progressive, restarts": _pillow("JPEG", quality=85, progressive=True, restart_marker_rows=2),
    },
    "png": {
        "rgb": _pillow("PNG"),
        "rgb, best": _pillow("PNG", optimize=True),
        "grey": _pillow("PNG", "L"),
        "palette": _pillow("PNG", "palette"),
        "one bit": _pillow("PNG", "1"),
        "alpha": _pillow("PNG", "alpha"),
        "grey 16": _pillow("PNG", "grey16"),
        "animated": _pillow("PNG", animated=True),
    },
    "webp": {
        "q80": _pillow("WEBP"),
        "q20": _pillow("WEBP", quality=20),
        "q95, slow": _pillow("WEBP", quality=95, method=6),
        "q80, fast": _pillow("WEBP", method=0),
        "lossless": _pillow("WEBP", lossless=True),
        "lossless, fast": _pillow("WEBP", lossless=True, method=0),
        "alpha": _pillow("WEBP", "alpha"),
        "alpha, lossless": _pillow("WEBP", "alpha", lossless=True),
        "animated": _pillow("WEBP", animated=True),
    },
    "heic": {
        "q60": _pillow(None, "heif", quality=60),
        "q95 444": _pillow(None, "heif", quality=95, chroma="444"),
        "q10": _pillow(None, "heif", quality=10),
        "tiles": _pillow(None, "heif", quality=60, tile_size=256),
        "previews": _pillow(None, "heif", quality=60, thumbnails=[128]),
    },
    "gif": {
        "palette": _pillow("GIF", "palette"),
        "grey": _pillow("GIF", "L"),
        "not interlaced": _pillow("GIF", "L", interlace=0),
        "animated": _pillow("GIF", animated=True),
    },
    "tiff, compressed": {
        "lzw": _pillow("TIFF", compression="tiff_lzw"),
        "deflate": _pillow("TIFF", compression="tiff_adobe_deflate"),
        "packbits": _pillow("TIFF", compression="packbits"),
        "jpeg": _pillow("TIFF", compression="jpeg"),
        "grey 16, lzw": _pillow("TIFF", "grey16", compression="tiff_lzw"),
    },
    "tiff, uncompressed": {
        "rgb": _pillow("TIFF"),
        "grey": _pillow("TIFF", "L"),
        "grey 16": _pillow("TIFF", "grey16"),
        "big": _pillow("TIFF", big_tiff=True),
    },
    "bmp": {"rgb": _pillow("BMP"), "grey": _pillow("BMP", "L"), "palette": _pillow("BMP", "palette")},
}
_SUFFIXES = {"jpeg": "jpg", "tiff, compressed": "tif", "tiff, uncompressed": "tif"}
_PROGRAMS: dict[str, dict[str, str]] = {
    "jpeg": {
        "cjpeg": "cjpeg -quality 80 -outfile OUT IN",
        "cjpeg arithmetic": "cjpeg -arithmetic -outfile OUT IN",
        "cjpeg restart row": "cjpeg -restart 1 -outfile OUT IN",
        "cjpeg restart 2 units, optimised": "cjpeg -restart 2B -optimize -outfile OUT IN",
        "cjpeg progressive": "cjpeg -progressive -restart 3 -outfile OUT IN",
        "cjpeg 1x2": "cjpeg -sample 1x2 -optimize -outfile OUT IN",
        "magick": "convert-im6.q16 IN -quality 82 OUT",
        "magick 411": "convert-im6.q16 IN -sampling-factor 4:1:1 -quality 70 OUT",
        "magick 440": "convert-im6.q16 IN -sampling-factor 4:4:0 OUT",
        "magick progressive": "convert-im6.q16 IN -interlace plane OUT",
        "gm": "gm convert IN OUT",
        "ffmpeg": "ffmpeg -v error -i IN -q:v 3 OUT",
        "ffmpeg, optimal": "ffmpeg -v error -i IN -q:v 9 -huffman optimal -pix_fmt yuvj420p OUT",
    },
    "png": {
        "magick interlaced": "convert-im6.q16 IN -interlace PNG OUT",
        "magick 8": "convert-im6.q16 IN PNG8:OUT",
        "ffmpeg": "ffmpeg -v error -i IN OUT",
        "gm": "gm convert IN OUT",
    },
    "webp": {
        "cwebp": "cwebp -quiet IN -o OUT",
        "cwebp, slow": "cwebp -quiet -m 6 -segments 4 -pass 6 -sharp_yuv IN -o OUT",
        "cwebp, near lossless": "cwebp -quiet -near_lossless 60 IN -o OUT",
        "magick, partitions": "convert-im6.q16 IN -define webp:partitions=3 OUT",
        "ffmpeg": "ffmpeg -v error -i IN -quality 60 OUT",
    },
    "heic": {
        "heif-enc": "heif-enc -q 50 IN -o OUT",
        "heif-enc lossless": "heif-enc -L -p chroma=444 --matrix_coefficients=0 IN -o OUT",
        "heif-enc, wavefronts": "heif-enc -q 70 -p x265:wpp=1 -p x265:slices=4 IN -o OUT",
    },
    "gif": {
        "magick": "convert-im6.q16 IN OUT",
        "magick interlaced": "convert-im6.q16 IN -interlace GIF OUT",
        "ffmpeg": "ffmpeg -v error -i IN OUT",
        "gm": "gm convert IN OUT",
    },
    "tiff, compressed": {
        "magick tiles": "convert-im6.q16 IN -define tiff:tile-geometry=128x128 -compress LZW OUT",
        "magick zip, planar": "convert-im6.q16 IN -interlace plane -compress Zip OUT",
        "magick jpeg": "convert-im6.q16 IN -compress JPEG OUT",
        "ffmpeg": "ffmpeg -v error -i IN OUT",
    },
    "tiff, uncompressed": {
        "magick": "convert-im6.q16 IN -compress None OUT",
        "magick tiles": "convert-im6.q16 IN -define tiff:tile-geometry=256x256 -compress None OUT",
        "magick big-endian": "convert-im6.q16 IN -endian MSB -compress None OUT",
        "gm": "gm convert IN -compress None OUT",
    },
    "bmp": {
        "magick": "convert-im6.q16 IN BMP3:OUT",
        "magick run-length": "convert-im6.q16 IN -colors 200 -compress RLE BMP3:OUT",
        "ffmpeg": "ffmpeg -v error -i IN OUT",
        "gm": "gm convert IN OUT",
    },
}
_PACKAGES: dict[str, dict[str, tuple[str, Writer]]] = {
    "jpeg": {
        "opencv": ("cv2", _opencv(".jpg")),
        "opencv progressive": ("cv2", _opencv(".jpg", 2, 1, 3, 1)),
        "opencv restarts": ("cv2", _opencv(".jpg", 4, 8)),
        "mozjpeg": ("mozjpeg_lossless_optimization", _mozjpeg),
    },
    "png": {"opencv": ("cv2", _opencv(".png"))},
    "webp": {"opencv": ("cv2", _opencv(".webp", 64, 70))},
    "tiff, compressed": {"opencv": ("cv2", _opencv(".tif"))},
    "bmp": {"opencv": ("cv2", _opencv(".bmp"))},
}


def writers() -> dict[str, dict[str, Writer]]:
    """By format and name."""
    found = {kind: dict(ways) for kind, ways in _ALWAYS.items()}
    for kind, commands in _PROGRAMS.items():
        for name, command in commands.items():
            if shutil.which(command.split()[0]):
                found[kind][name] = _program(command, _SUFFIXES.get(kind, kind))
    for kind, packages in _PACKAGES.items():
        for name, (package, writer) in packages.items():
            if importlib.util.find_spec(package):
                found[kind][name] = writer
    return found
