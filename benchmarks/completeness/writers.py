"""Every way to write a picture that is at hand: Pillow and libheif always, other programs where they are installed."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

Writer = Callable[[Image.Image], bytes]


def _pillow(kind: str, mode: str = "RGB", **options: object) -> Writer:
    def write(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind, **options)
        return buffer.getvalue()

    return write


def _palette(kind: str, **options: object) -> Writer:
    def write(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture.quantize(64).save(buffer, kind, **options)
        return buffer.getvalue()

    return write


def _grey16(kind: str, **options: object) -> Writer:
    def write(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        greys = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
        greys.save(buffer, kind, **options)
        return buffer.getvalue()

    return write


def _alpha(kind: str, **options: object) -> Writer:
    """With transparent parts."""

    def write(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture = picture.convert("RGBA")
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(buffer, kind, **options)
        return buffer.getvalue()

    return write


def _animation(kind: str, **options: object) -> Writer:
    def write(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        frames = [picture.rotate(90 * turn) for turn in (1, 2)]
        picture.save(buffer, kind, save_all=True, append_images=frames, duration=80, **options)
        return buffer.getvalue()

    return write


def _heif(**options: object) -> Writer:
    def write(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        pillow_heif.from_pillow(picture).save(buffer, **options)
        return buffer.getvalue()

    return write


def _program(command: str, suffix: str, source: str = "ppm") -> Writer:
    """`command` with IN and OUT in the places of the files."""

    def write(picture: Image.Image) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / f"in.{source}", Path(folder) / f"out.{suffix}"
            picture.save(given)
            words = [{"IN": str(given), "OUT": str(made)}.get(word, word) for word in command.split()]
            words = [word.replace("OUT", str(made)) for word in words]
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
        "palette": _palette("PNG"),
        "one bit": _pillow("PNG", "1"),
        "alpha": _alpha("PNG"),
        "grey 16": _grey16("PNG"),
        "animated": _animation("PNG"),
    },
    "webp": {
        "q80": _pillow("WEBP"),
        "q20": _pillow("WEBP", quality=20),
        "q95, slow": _pillow("WEBP", quality=95, method=6),
        "q80, fast": _pillow("WEBP", method=0),
        "lossless": _pillow("WEBP", lossless=True),
        "lossless, fast": _pillow("WEBP", lossless=True, method=0),
        "alpha": _alpha("WEBP"),
        "alpha, lossless": _alpha("WEBP", lossless=True),
        "animated": _animation("WEBP"),
    },
    "heic": {
        "q60": _heif(quality=60),
        "q95 444": _heif(quality=95, chroma="444"),
        "q10": _heif(quality=10),
        "tiles": _heif(quality=60, tile_size=256),
        "previews": _heif(quality=60, thumbnails=[128]),
    },
    "gif": {
        "palette": _palette("GIF"),
        "grey": _pillow("GIF", "L"),
        "not interlaced": _pillow("GIF", "L", interlace=0),
        "animated": _animation("GIF"),
    },
    "tiff, compressed": {
        "lzw": _pillow("TIFF", compression="tiff_lzw"),
        "deflate": _pillow("TIFF", compression="tiff_adobe_deflate"),
        "packbits": _pillow("TIFF", compression="packbits"),
        "jpeg": _pillow("TIFF", compression="jpeg"),
        "grey 16, lzw": _grey16("TIFF", compression="tiff_lzw"),
    },
    "tiff, uncompressed": {
        "rgb": _pillow("TIFF"),
        "grey": _pillow("TIFF", "L"),
        "grey 16": _grey16("TIFF"),
        "big": _pillow("TIFF", big_tiff=True),
    },
    "bmp": {"rgb": _pillow("BMP"), "grey": _pillow("BMP", "L"), "palette": _palette("BMP")},
}
_PROGRAMS: dict[str, dict[str, tuple[str, str]]] = {
    "jpeg": {
        "cjpeg": ("cjpeg -quality 80 -outfile OUT IN", "jpg"),
        "cjpeg arithmetic": ("cjpeg -arithmetic -outfile OUT IN", "jpg"),
        "cjpeg restart row": ("cjpeg -restart 1 -outfile OUT IN", "jpg"),
        "cjpeg restart 2 units, optimised": ("cjpeg -restart 2B -optimize -outfile OUT IN", "jpg"),
        "cjpeg progressive": ("cjpeg -progressive -restart 3 -outfile OUT IN", "jpg"),
        "cjpeg 1x2": ("cjpeg -sample 1x2 -optimize -outfile OUT IN", "jpg"),
        "magick": ("convert-im6.q16 IN -quality 82 OUT", "jpg"),
        "magick 411": ("convert-im6.q16 IN -sampling-factor 4:1:1 -quality 70 OUT", "jpg"),
        "magick 440": ("convert-im6.q16 IN -sampling-factor 4:4:0 OUT", "jpg"),
        "magick progressive": ("convert-im6.q16 IN -interlace plane OUT", "jpg"),
        "gm": ("gm convert IN OUT", "jpg"),
        "ffmpeg": ("ffmpeg -v error -i IN -q:v 3 OUT", "jpg"),
        "ffmpeg, optimal": ("ffmpeg -v error -i IN -q:v 9 -huffman optimal -pix_fmt yuvj420p OUT", "jpg"),
    },
    "png": {
        "magick interlaced": ("convert-im6.q16 IN -interlace PNG OUT", "png"),
        "magick 8": ("convert-im6.q16 IN PNG8:OUT", "png"),
        "ffmpeg": ("ffmpeg -v error -i IN OUT", "png"),
        "gm": ("gm convert IN OUT", "png"),
    },
    "webp": {
        "cwebp": ("cwebp -quiet IN -o OUT", "webp"),
        "cwebp, slow": ("cwebp -quiet -m 6 -segments 4 -pass 6 -sharp_yuv IN -o OUT", "webp"),
        "cwebp, near lossless": ("cwebp -quiet -near_lossless 60 IN -o OUT", "webp"),
        "magick, partitions": ("convert-im6.q16 IN -define webp:partitions=3 OUT", "webp"),
        "ffmpeg": ("ffmpeg -v error -i IN -quality 60 OUT", "webp"),
    },
    "heic": {
        "heif-enc": ("heif-enc -q 50 IN -o OUT", "heic"),
        "heif-enc lossless": ("heif-enc -L -p chroma=444 --matrix_coefficients=0 IN -o OUT", "heic"),
        "heif-enc, wavefronts": ("heif-enc -q 70 -p x265:wpp=1 -p x265:slices=4 IN -o OUT", "heic"),
    },
    "gif": {
        "magick": ("convert-im6.q16 IN OUT", "gif"),
        "magick interlaced": ("convert-im6.q16 IN -interlace GIF OUT", "gif"),
        "ffmpeg": ("ffmpeg -v error -i IN OUT", "gif"),
        "gm": ("gm convert IN OUT", "gif"),
    },
    "tiff, compressed": {
        "magick tiles": ("convert-im6.q16 IN -define tiff:tile-geometry=128x128 -compress LZW OUT", "tif"),
        "magick zip, planar": ("convert-im6.q16 IN -interlace plane -compress Zip OUT", "tif"),
        "magick jpeg": ("convert-im6.q16 IN -compress JPEG OUT", "tif"),
        "ffmpeg": ("ffmpeg -v error -i IN OUT", "tif"),
    },
    "tiff, uncompressed": {
        "magick": ("convert-im6.q16 IN -compress None OUT", "tif"),
        "magick tiles": ("convert-im6.q16 IN -define tiff:tile-geometry=256x256 -compress None OUT", "tif"),
        "magick big-endian": ("convert-im6.q16 IN -endian MSB -compress None OUT", "tif"),
        "gm": ("gm convert IN -compress None OUT", "tif"),
    },
    "bmp": {
        "magick": ("convert-im6.q16 IN BMP3:OUT", "bmp"),
        "magick run-length": ("convert-im6.q16 IN -colors 200 -compress RLE BMP3:OUT", "bmp"),
        "ffmpeg": ("ffmpeg -v error -i IN OUT", "bmp"),
        "gm": ("gm convert IN OUT", "bmp"),
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
        for name, (command, suffix) in commands.items():
            if shutil.which(command.split()[0]):
                source = "png" if "heif" in command else "ppm"
                found[kind][name] = _program(command, suffix, source)
    for kind, packages in _PACKAGES.items():
        for name, (package, writer) in packages.items():
            if importlib.util.find_spec(package):
                found[kind][name] = writer
    return found
