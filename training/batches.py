"""Where training batches come from: views drawn and augmented on the spot, through the frozen blocks where some are."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from training.augmentation import augmented
from training.sampling import draw_probabilities, systematic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.dataset import LabelledImage
    from training.frozen import FloatTrunk, Trunk

    Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


class Views:
    """Batches of views, the same for the same step, the next one made while the last is learned from."""

    def __init__(
        self,
        squares: NDArray[np.uint8],
        images: Sequence[LabelledImage],
        indices: NDArray[np.int64],
        *,
        size: int,
        trunk: Trunk | FloatTrunk | None,
        class_power: float,
        source_share: float,
        batch: int,
        strength: float,
        seed: int,
    ) -> None:
        """Draws from `squares[indices]`, and cuts views of `size` pixels' side; `trunk` None: pixels are handed out."""
        self._squares, self._indices, self._size, self._trunk = squares, indices, size, trunk
        self._labels = np.array([images[i].label for i in indices])
        self._probabilities = draw_probabilities([images[i] for i in indices], class_power, source_share)
        self._batch, self._strength, self._seed = batch, strength, seed
        self._steps = max(1, len(indices) // batch)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="views")
        self._next: tuple[int, Future[Batch]] | None = None

    def at(self, step: int) -> Batch:
        """Features or pixels (batch, rows, columns, channels) and labels of step `step`."""
        ready = self._next[1].result() if self._next and self._next[0] == step else self._make(step)
        self._next = (step + 1, self._ahead.submit(self._make, step + 1))
        return ready

    def _make(self, step: int) -> Batch:
        number, position = divmod(step, self._steps)
        # One pass is drawn at a time, systematically: no image waits much longer for its turn than another.
        order = systematic(
            self._probabilities, self._steps * self._batch, np.random.default_rng((self._seed, 0, number))
        )
        chosen = order[position * self._batch : (position + 1) * self._batch]
        rng = np.random.default_rng((self._seed, 1, step))
        squares = (self._squares[i] for i in self._indices[chosen])
        views = np.stack([augmented(square, self._size, rng, self._strength) for square in squares])
        inputs = views.astype(np.float32) if self._trunk is None else self._trunk.features(views)
        return inputs, self._labels[chosen]
