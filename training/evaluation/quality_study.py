"""At what image quality do the model's answers become unreliable? Real images are degraded step by step to find out.

For each measure of `model_layer.quality`, and for `side` (the file's shorter side), images that the bundle has not
learned from are degraded in steps, and accuracy is compared with the same images undegraded. A threshold meets two
conditions: beyond it accuracy has fallen by at least `FALL`, and at most `FLAGGED` of the undegraded images of each
folder lie beyond it. If they conflict, the second one wins: photographs as good as the training images must not be
flagged. If accuracy never falls that far, there is no threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from model_layer import DecodedImage
from model_layer.quality import Quality, measure
from training.data.degradations import as_file, blurred, exposed, faded, opened, shrunk
from training.evaluation.bootstrap import lesion_weights, shares
from training.evaluation.robustness import labels_of
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from model_layer import Classifier
    from training.data.dataset import LabelledImage

FALL = 0.25
"""The share of the accuracy on undegraded images that is lost at the threshold.

With a tenth, images would be flagged that are nearly as useful as good ones. "Too dark" would start at a mean luma near
100, where well exposed photographs of dark skin lie; the data has too few of them for `FLAGGED` to protect them.
"""
FLAGGED = 0.01
"""At most this share of a folder's undegraded images may lie beyond a threshold."""
MEASURES = (*Quality.__slots__, "side")


@dataclass(frozen=True)
class Series:
    """One kind of degradation, in steps from mild to severe."""

    measure: str
    reason: str
    unit: str
    steps: tuple[float, ...]
    degrade: Callable[[Image.Image, float], Image.Image]
    worse: int
    """+1 if the measure rises with the degradation, -1 if it falls."""


SERIES = (
    Series("brightness", "too dark", "stops", (-1, -2, -3, -4, -5, -6), exposed, -1),
    Series("clipped", "overexposed", "stops", (0.5, 1, 1.5, 2, 2.5, 3), exposed, +1),
    # In pixels of the network's input: 224ths of the shorter side.
    Series("blur", "blurred", "pixels", (1, 2, 3, 4, 6, 8), lambda image, sigma: blurred(image, sigma / 224), +1),
    Series("side", "too small", "pixels", (160, 128, 96, 80, 64, 48), lambda i, side: shrunk(i, int(side)), -1),
    Series("detail", "no detail", "contrast left", (0.5, 0.35, 0.25, 0.15, 0.1, 0.05), faded, -1),
)


@dataclass(frozen=True)
class Step:
    """One step of a series, over all drawn images."""

    step: float | None
    """None: undegraded."""
    accuracy: NDArray[np.float64]
    """(1 + RESAMPLES,) share labelled correctly; a rejected image counts as wrong."""
    relative: NDArray[np.float64]
    """(1 + RESAMPLES,) accuracy divided by the accuracy on the same images undegraded."""
    measures: NDArray[np.float64]
    """(n,) the series' measure for each image; NaN for rejected images."""


@dataclass(frozen=True)
class Threshold:
    """The proposed threshold of one measure."""

    series: Series
    value: float | None
    """None if accuracy never falls by `FALL`."""
    from_accuracy: float | None
    """The measure at which accuracy has fallen by `FALL`; None if it never does."""
    from_images: float
    """The most lenient over all folders of the measure that `FLAGGED` of the undegraded images lie beyond."""

    def beyond(self, measures: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `measures` (n,) lie beyond the threshold; NaN never does."""
        if self.value is None:
            return np.zeros(len(measures), dtype=bool)
        return np.asarray((measures - self.value) * self.series.worse > 0)


def measures_of(classifier: Classifier, content: bytes) -> dict[str, float]:
    """Every measure of one file; NaN if it is rejected."""
    decoded = classifier.decode(content)
    if not isinstance(decoded, DecodedImage):
        return dict.fromkeys(MEASURES, float("nan"))
    quality = measure(decoded.pixels)
    own = {name: getattr(quality, name) for name in Quality.__slots__}
    return own | {"side": float(min(decoded.facts.width, decoded.facts.height))}


def undegraded(classifier: Classifier, images: Sequence[LabelledImage]) -> dict[str, NDArray[np.float64]]:
    """Every measure of the images as they are: (n,) each."""
    rows = []
    with Progress("measuring", len(images)) as progress:
        for image in images:
            rows.append(measures_of(classifier, image.path.read_bytes()))
            progress.advance()
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


def degrade(
    classifier: Classifier, images: Sequence[LabelledImage], series: Sequence[Series] = SERIES
) -> list[list[Step]]:
    """All steps of all series on `images`; each series starts with the undegraded step."""
    size = classifier.bundle.input_size
    truth = np.array([image.label for image in images])
    weights = lesion_weights([image.lesion for image in images])
    pictures = [opened(image.path, size) for image in images]
    with Progress("degrading", sum(len(s.steps) for s in series) + 1) as progress:
        untouched = [as_file(picture) for picture in pictures]
        reference = shares(weights, labels_of(classifier, untouched) == truth)
        progress.advance()
        studied = []
        for own in series:
            before = np.array([measures_of(classifier, content)[own.measure] for content in untouched])
            steps = [Step(None, reference, _ratio(reference, reference), before)]
            for step in own.steps:
                contents = [as_file(own.degrade(picture, step)) for picture in pictures]
                accuracy = shares(weights, labels_of(classifier, contents) == truth)
                measured = np.array([measures_of(classifier, content)[own.measure] for content in contents])
                steps.append(Step(step, accuracy, _ratio(accuracy, reference), measured))
                progress.advance()
            studied.append(steps)
    return studied


def _ratio(accuracy: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """`accuracy` / `reference`; NaN or infinite for resamples in which the reference is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(accuracy / reference)


def threshold(
    series: Series, steps: Sequence[Step], natural: NDArray[np.float64], folders: NDArray[np.str_]
) -> Threshold:
    """Proposes a threshold from a series' `steps`, and the measures and folders of all undegraded images (n,)."""
    quantile = FLAGGED if series.worse < 0 else 1 - FLAGGED
    # The value of an actual image, not interpolated: at most the promised share lies beyond it.
    side: Literal["lower", "higher"] = "lower" if series.worse < 0 else "higher"
    limits = [float(np.nanquantile(natural[folders == name], quantile, method=side)) for name in np.unique(folders)]
    lenient = max if series.worse > 0 else min
    from_images = lenient(limits)
    from_accuracy = _fallen(steps)
    value = None if from_accuracy is None else lenient(from_images, from_accuracy)
    return Threshold(series, value, from_accuracy, from_images)


def _fallen(steps: Sequence[Step]) -> float | None:
    """The median measure at which relative accuracy first falls to 1 - FALL, interpolated between steps."""
    places = [(float(np.nanmedian(s.measures)), float(s.relative[0])) for s in steps if np.isfinite(s.measures).any()]
    for (here, above), (there, under) in pairwise(places):
        if under <= 1 - FALL < above:
            return here + (there - here) * (above - (1 - FALL)) / (above - under)
    return None
