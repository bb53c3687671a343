"""Where training batches come from: cached features of drawn views, or pixels augmented on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.augmentation import augmentation
from training.sampling import draw_probabilities, systematic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.dataset import LabelledImage
    from training.frozen import Views


class CachedBatches:
    """Batches of cached features; every pass over the cache comes in another order."""

    def __init__(self, cached: Views, probabilities: NDArray[np.float64], batch: int, seed: int) -> None:
        """`batch` views a step, each drawn with its share of `probabilities` (one a view, of sum 1)."""
        self._views, self._probabilities, self._batch, self._seed = cached, probabilities, batch, seed
        self._steps = max(1, len(cached.labels) // batch)
        self._pass, self._order = -1, np.arange(0)

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features (batch, rows, columns, channels) and labels of step `step`."""
        number, position = divmod(step, self._steps)
        if number != self._pass:
            rng = np.random.default_rng((self._seed, number))
            self._pass, self._order = number, systematic(self._probabilities, len(self._views.labels), rng)
        chosen = np.sort(self._order[position * self._batch : (position + 1) * self._batch])
        features = self._views.levels[chosen].astype(np.float32)
        features *= np.float32(self._views.scale)
        return features, self._views.labels[chosen]


class FreshBatches:
    """Batches of pixels, drawn and augmented when they are asked for: for accelerators, which are fast enough."""

    def __init__(
        self,
        squares: NDArray[np.uint8],
        images: Sequence[LabelledImage],
        indices: NDArray[np.int64],
        *,
        class_power: float,
        draws: int,
        batch: int,
        strength: float,
        seed: int,
    ) -> None:
        """Draws from `squares[indices]`, `draws` at a time."""
        self._squares, self._indices = squares, indices
        self._labels = np.array([images[i].label for i in indices])
        self._probabilities = draw_probabilities([images[i] for i in indices], class_power)
        self._draws, self._batch, self._seed = draws, batch, seed
        self._steps = max(1, draws // batch)
        self._augment = augmentation(seed, strength)
        self._pass, self._order = -1, np.arange(0)

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Augmented pixels (batch, size, size, 3) and labels of step `step`."""
        number, position = divmod(step, self._steps)
        if number != self._pass:
            rng = np.random.default_rng((self._seed, number))
            self._pass, self._order = number, systematic(self._probabilities, self._draws, rng)
        chosen = self._order[position * self._batch : (position + 1) * self._batch]
        pixels = self._squares[self._indices[chosen]].astype(np.float32)
        return np.asarray(self._augment(pixels, training=True), dtype=np.float32), self._labels[chosen]


def view_probabilities(
    drawn: NDArray[np.int64], images: Sequence[LabelledImage], class_power: float
) -> NDArray[np.float64]:
    """(draws,) probability of each cached view of `images[drawn]`: an image's own, shared among its views."""
    seen = np.unique(drawn)
    of_image = dict(zip(seen.tolist(), draw_probabilities([images[i] for i in seen], class_power), strict=True))
    counts = np.bincount(drawn)
    return np.array([of_image[i] / counts[i] for i in drawn.tolist()])
