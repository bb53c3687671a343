"""Where training batches come from: cached features of drawn views, or pixels augmented on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.augmentation import augmentation
from training.sampling import draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.dataset import LabelledImage
    from training.frozen import Views


class CachedBatches:
    """Batches of cached features; every pass over the cache comes in another order."""

    def __init__(self, cached: Views, batch: int, seed: int) -> None:
        """`batch` views a step."""
        self._views, self._batch, self._seed = cached, batch, seed
        self._steps = max(1, len(cached.labels) // batch)
        self._pass, self._order = -1, np.arange(0)

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features (batch, rows, columns, channels) and labels of step `step`."""
        number, position = divmod(step, self._steps)
        if number != self._pass:
            self._pass = number
            self._order = np.random.default_rng((self._seed, number)).permutation(len(self._views.labels))
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
        draws: int,
        batch: int,
        strength: float,
        seed: int,
    ) -> None:
        """Draws from `squares[indices]`, `draws` at a time."""
        self._squares, self._indices = squares, indices
        self._images = [images[i] for i in indices]
        self._draws, self._batch, self._seed = draws, batch, seed
        self._steps = max(1, draws // batch)
        self._augment = augmentation(seed, strength)
        self._pass, self._order = -1, np.arange(0)

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Augmented pixels (batch, size, size, 3) and labels of step `step`."""
        number, position = divmod(step, self._steps)
        if number != self._pass:
            self._pass = number
            self._order = draw(self._images, self._draws, self._seed + number)
        chosen = self._order[position * self._batch : (position + 1) * self._batch]
        pixels = self._squares[self._indices[chosen]].astype(np.float32)
        labels = np.array([self._images[i].label for i in chosen])
        return np.asarray(self._augment(pixels, training=True), dtype=np.float32), labels
