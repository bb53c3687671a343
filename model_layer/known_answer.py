"""One image whose answer the bundle states: a new worker gives it again, before anything else is asked of it.

The image is computed, with integers only, so it has the same pixels on every machine and no photograph is shipped. It
shows a dark spot on a lighter ground. What label it gets means nothing. That a processor, a library or a damaged build
gives other probabilities than the machine that made the bundle means that every other image may get them too.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from model_layer.answers import Rejection

if TYPE_CHECKING:
    from model_layer.classifier import Classifier

TOLERANCE = 0.02
"""Of each probability. Processors with other 8-bit instructions round otherwise, by far less (docs/decisions.md)."""

_SIDE = 320  # pixels
_GROUND, _SPOT = np.array([214, 170, 145]), np.array([92, 58, 46])  # sRGB


def known_image() -> bytes:
    """The image as a PNG, so that decoding is part of what is checked."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.int64)
    distance = ((x - 150) ** 2 * 4 + (y - 170) ** 2 * 3) // 4  # of an ellipse's centre, squared
    spot = np.clip((9000 - distance) // 12, 0, 255)[..., None]  # (side, side, 1), how much of the spot shows
    grain = ((x * 7) ^ (y * 13)) % 24 - 12
    pixels = (_GROUND * (255 - spot) + _SPOT * spot) // 255 + grain[..., None]
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def known_answer(classifier: Classifier) -> dict[str, float]:
    """The probabilities that `classifier` gives the image; empty if it rejects it."""
    (answer,) = classifier.classify([known_image()])
    return {} if isinstance(answer, Rejection) else dict(answer.probabilities)


def departure(classifier: Classifier) -> str | None:
    """One sentence on how `classifier`'s answer departs from the one that its bundle states; None if it does not.

    Of a bundle that states none, only that there is an answer is checked: probabilities that sum to 1.
    """
    bundle, answer = classifier.bundle, known_answer(classifier)
    if not answer:
        return f"Bundle {bundle.version} rejects the known image."
    if not abs(sum(answer.values()) - 1) < TOLERANCE:  # also where they are no numbers
        return f"The probabilities of bundle {bundle.version} sum to {sum(answer.values()):g} for the known image."
    for code, stated in (bundle.known_answer or {}).items():
        if not abs(answer[code] - stated) <= TOLERANCE:
            return (
                f"Bundle {bundle.version} gives the known image {answer[code]:.3f} for {code}; "
                f"its manifest states {stated:.3f}."
            )
    return None
