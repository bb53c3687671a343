"""From which image quality on the model's answers lose their worth: real images made worse, step by step.

For each measure of `model_layer.quality` (and for `side`, the file's shorter one) a seeded draw of images that the
bundle has not seen is degraded in steps, and the model's accuracy is set against the same images undegraded. A
threshold has to meet two conditions: beyond it accuracy has fallen by `FALL` or more, and at most `FLAGGED` of the
undegraded images of each data folder lie beyond it. Where the two disagree the second wins: people are not to be sent
back with photographs as good as those the model was made from. Where accuracy never falls so far there is no threshold
to set.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from model_layer import DecodedImage
from model_layer.quality import Quality, measure
from training.bootstrap import lesion_weights, shares
from training.degradations import as_file, blurred, exposed, faded, opened, shrunk
from training.probe import labels_of
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from model_layer import Classifier
    from training.dataset import LabelledImage

FALL = 0.25
"""Of the accuracy on undegraded images, this share is lost at the threshold.

With a tenth an image would still be nearly worth what a good one is. And "too dark" would begin at a mean luma near
100, where well exposed photographs of dark skin lie, of which there are too few here to be counted under `FLAGGED`.
"""
FLAGGED = 0.01
"""At most this share of a folder's undegraded images lies beyond a threshold."""
MEASURES = (*Quality.__slots__, "side")


@dataclass(frozen=True)
class Series:
    """One way to spoil a photograph, in steps from mild to hopeless."""

    measure: str
    reason: str
    unit: str
    steps: tuple[float, ...]
    degrade: Callable[[Image.Image, float], Image.Image]
    worse: int
    """+1 when the measure rises with the damage, -1 when it falls."""


SERIES = (
    Series("brightness", "too dark", "stops", (-1, -2, -3, -4, -5, -6), exposed, -1),
    Series("clipped", "overexposed", "stops", (0.5, 1, 1.5, 2, 2.5, 3), exposed, +1),
    # In 224ths of the shorter side: pixels of the network's input.
    Series("blur", "blurred", "pixels", (1, 2, 3, 4, 6, 8), lambda image, sigma: blurred(image, sigma / 224), +1),
    Series("side", "too small", "pixels", (160, 128, 96, 80, 64, 48), lambda i, side: shrunk(i, int(side)), -1),
    Series("detail", "no detail", "contrast left", (0.5, 0.35, 0.25, 0.15, 0.1, 0.05), faded, -1),
)


@dataclass(frozen=True)
class Step:
    """One series at one step, over all drawn images."""

    step: float | None
    """None: undegraded."""
    accuracy: NDArray[np.float64]
    """(1 + RESAMPLES,) share labelled right; a rejected image is not."""
    relative: NDArray[np.float64]
    """(1 + RESAMPLES,) the same, over the accuracy on the same images undegraded."""
    measures: NDArray[np.float64]
    """(n,) the series' measure of each image; NaN of those that were rejected."""


@dataclass(frozen=True)
class Threshold:
    """What a study proposes for one measure."""

    series: Series
    value: float | None
    """None where accuracy never falls by `FALL`: no threshold is proposed."""
    from_accuracy: float | None
    """Where accuracy has fallen by `FALL`; None where it never does."""
    from_images: float
    """The measure that `FLAGGED` of the undegraded images of some folder lie beyond, the most lenient folder's."""

    def beyond(self, measures: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `measures` would get the reason; what could not be measured (NaN) would not."""
        if self.value is None:
            return np.zeros(len(measures), dtype=bool)
        return np.asarray((measures - self.value) * self.series.worse > 0)


def measures_of(classifier: Classifier, content: bytes) -> dict[str, float]:
    """Every measure of one file; NaN where it is rejected."""
    decoded = classifier.decode(content)
    if not isinstance(decoded, DecodedImage):
        return dict.fromkeys(MEASURES, float("nan"))
    quality = measure(decoded.pixels)
    own = {name: getattr(quality, name) for name in Quality.__slots__}
    return own | {"side": float(min(decoded.facts.width, decoded.facts.height))}


def undegraded(classifier: Classifier, images: Sequence[LabelledImage]) -> dict[str, NDArray[np.float64]]:
    """Each measure of every image's own file: (n,) each."""
    rows = []
    with Progress("measuring", len(images)) as progress:
        for image in images:
            rows.append(measures_of(classifier, image.path.read_bytes()))
            progress.advance()
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


def degrade(
    classifier: Classifier, images: Sequence[LabelledImage], series: Sequence[Series] = SERIES
) -> list[list[Step]]:
    """Every step of every series on `images`, each series opened by the undegraded step."""
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
            steps = [Step(None, reference, reference / reference, before)]
            for step in own.steps:
                contents = [as_file(own.degrade(picture, step)) for picture in pictures]
                accuracy = shares(weights, labels_of(classifier, contents) == truth)
                measured = np.array([measures_of(classifier, content)[own.measure] for content in contents])
                steps.append(Step(step, accuracy, accuracy / reference, measured))
                progress.advance()
            studied.append(steps)
    return studied


def threshold(
    series: Series, steps: Sequence[Step], natural: NDArray[np.float64], folders: NDArray[np.str_]
) -> Threshold:
    """The proposal from a series' `steps` and the measures of all undegraded images, with the folder of each."""
    quantile = FLAGGED if series.worse < 0 else 1 - FLAGGED
    # Of an image's own value, not one between two images: no more than the promised share lies beyond it.
    side: Literal["lower", "higher"] = "lower" if series.worse < 0 else "higher"
    limits = [float(np.nanquantile(natural[folders == name], quantile, method=side)) for name in np.unique(folders)]
    lenient = max if series.worse > 0 else min
    from_images = lenient(limits)
    from_accuracy = _fallen(steps)
    value = None if from_accuracy is None else lenient(from_images, from_accuracy)
    return Threshold(series, value, from_accuracy, from_images)


def _fallen(steps: Sequence[Step]) -> float | None:
    """The median measure at which relative accuracy first falls to 1 - FALL, by straight lines between steps."""
    places = [(float(np.nanmedian(s.measures)), float(s.relative[0])) for s in steps if np.isfinite(s.measures).any()]
    for (here, above), (there, under) in pairwise(places):
        if under <= 1 - FALL < above:
            return here + (there - here) * (above - (1 - FALL)) / (above - under)
    return None
