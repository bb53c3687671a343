"""Pictures that the service gives: an image under its heat map, and a preview of one that browsers cannot show.

Both show the centre square, which is what the network saw. They are decoded as carefully as everything else from
strangers, and written anew: nothing of the file's metadata is left.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from handler.store.record import NOTICE
from model_layer import decode
from pictures.heat import overlay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_layer import DecodingLimits

OVERLAY_SIDE = 448


def overlay_png(content: bytes, heatmap: Mapping[str, Any], limits: DecodingLimits) -> bytes:
    """A PNG of `OVERLAY_SIDE` pixels: the image in grey under `heatmap` (rows, columns, values)."""
    square = Image.fromarray(decode(content, OVERLAY_SIDE, limits).pixels)
    return _png(overlay(square, heatmap))


def preview_png(content: bytes, side: int, limits: DecodingLimits) -> bytes:
    """A PNG of `side` pixels.

    Raises:
        ImageRejectedError: it cannot be decoded.
    """
    return _png(Image.fromarray(decode(content, side, limits).pixels))


def _png(picture: Image.Image) -> bytes:
    remark = PngInfo()
    remark.add_text("Comment", NOTICE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=remark, compress_level=3)
    return buffer.getvalue()
