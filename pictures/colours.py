"""The sheet's colours: few, and each with one meaning."""

from __future__ import annotations

from typing import NamedTuple

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

GROUND = (244, 242, 238)
CARD = (255, 255, 255)
EDGE = (224, 220, 213)
INK = (28, 27, 31)
MUTED = (113, 108, 103)
FAINT = (235, 232, 226)
WHITE = (255, 255, 255)
URGENT = (184, 28, 60)


class StatusColours(NamedTuple):
    """A strong one for text and bars, a pale one to lie behind it."""

    strong: Colour
    pale: Colour


STATUS = {
    "classified": StatusColours((15, 112, 104), (217, 240, 236)),
    "referred": StatusColours((168, 84, 8), (253, 237, 210)),
    "rejected": StatusColours((82, 90, 106), (228, 231, 237)),
    "superseded": StatusColours((88, 80, 140), (232, 229, 246)),
    "failed": StatusColours((168, 28, 36), (252, 226, 226)),
}
"""In the order in which the sheet shows them."""
