"""The heat map over an image as a PNG file.

The image is decoded as carefully as everything else from strangers, and written anew: nothing of the file's metadata
is left.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from handler.store.record import NOTICE
from model_layer import DecodingLimits, decode
from pictures.heat import overlay

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE = 448
"""Pixels of the square that the network saw."""


def overlay_png(content: bytes, heatmap: Mapping[str, Any], limits: DecodingLimits, side: int = SIDE) -> bytes:
    """The image in grey under `heatmap` (rows, columns, values), as a PNG of `side` pixels.

    Raises:
        ImageRejectedError: `content` cannot be decoded.
    """
    return png(overlay(Image.fromarray(decode(content, side, limits).pixels), heatmap))


def png(picture: Image.Image) -> bytes:
    """A PNG file that carries the notice and nothing else."""
    remark = PngInfo()
    remark.add_text("Comment", NOTICE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=remark, compress_level=3)
    return buffer.getvalue()
