"""Sheets of real images beside their heat maps, for people to look at.

They show photographs of patients, so they never go into a bundle or a repository; each sheet says so.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from pictures.heat import overlay
from training.data.dataset import CODES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from model_layer import Prediction
    from training.data.dataset import LabelledImage

PER_CLASS = 4
"""Lesions of each class on a sheet."""
_SIDE, _CAPTION, _PAIRS = 160, 18, 4
_PAPER, _RIGHT, _WRONG = "white", "#1d2733", "#b03a2e"


def draw_overlays(shown: Sequence[tuple[LabelledImage, Prediction, NDArray[np.uint8]]], file: Path, title: str) -> None:
    """Writes a PNG with each of `shown` (image, answer, decoded square), plain and under its heat map."""
    rows = -(-len(shown) // _PAIRS)
    sheet = Image.new("RGB", (_PAIRS * (2 * _SIDE + 12), _CAPTION + rows * (_SIDE + _CAPTION + 8)), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    pen.text((4, 3), f"{title}. Photographs of patients: do not pass on.", fill=_RIGHT, font=font)
    for k, (image, answer, pixels) in enumerate(shown):
        left = (k % _PAIRS) * (2 * _SIDE + 12)
        top = _CAPTION + (k // _PAIRS) * (_SIDE + _CAPTION + 8)
        square = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        sheet.paste(square, (left, top))
        sheet.paste(overlay(square, asdict(answer.heatmap)), (left + _SIDE, top))
        truth = CODES[image.label]
        caption = f"truth {truth}, label {answer.label} {answer.confidence:.0%}, {answer.status}"
        colour = _RIGHT if answer.label == truth else _WRONG
        pen.text((left + 2, top + _SIDE + 2), caption, fill=colour, font=font)
    sheet.save(file)
