"""Training batches: images are drawn and augmented on the fly, in a thread that works one step ahead."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from training.data.augmentation import augmented
from training.data.sampling import draw_probabilities, systematic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.config import Config, Stage
    from training.data.dataset import LabelledImage

    Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class Views:
    """The batches of one stage. A step's batch depends only on its number, so that a run can be resumed."""

    def __init__(
        self,
        squares: NDArray[np.uint8],
        images: Sequence[LabelledImage],
        indices: NDArray[np.int64],
        labels: int,
        stage: Stage,
        config: Config,
    ) -> None:
        """Draws from `squares[indices]` (n, side, side, 3), which show `images[indices]`."""
        self._squares, self._indices, self._stage, self._config = squares, indices, stage, config
        self._targets = np.eye(labels, dtype=np.float32)[[images[i].label for i in indices]]
        self._probabilities = draw_probabilities([images[i] for i in indices], config.class_power, config.source_share)
        self._steps = max(1, len(indices) // config.batch)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="views")
        self._next: tuple[int, Future[Batch]] | None = None

    def at(self, step: int) -> Batch:
        """Pixels (batch, size, size, 3) and label shares (batch, labels) of a step."""
        ready = self._next[1].result() if self._next and self._next[0] == step else self._make(step)
        self._next = (step + 1, self._ahead.submit(self._make, step + 1))
        return ready

    def _make(self, step: int) -> Batch:
        config = self._config
        number, position = divmod(step, self._steps)
        # Each pass over the data is one systematic draw, so no image waits much longer than another for its turn.
        order = systematic(
            self._probabilities,
            self._steps * config.batch,
            np.random.default_rng((config.seed, config.variant, 0, number)),
        )
        chosen = order[position * config.batch : (position + 1) * config.batch]
        rng = np.random.default_rng((config.seed, config.variant, 1, step))
        size, field = self._stage.size, self._stage.field
        squares = (self._squares[i] for i in self._indices[chosen])
        views = np.stack([augmented(square, size, field, rng, config.augmentation) for square in squares])
        return mixed(views.astype(np.float32), self._targets[chosen], config.mixup, rng)


def mixed(
    inputs: NDArray[np.float32], targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blends every item with another one, pixels and labels alike (mixup: Zhang et al. 2018), by Beta(alpha) shares."""
    if alpha <= 0:
        return inputs, targets
    share = rng.beta(alpha, alpha, (len(inputs), 1)).astype(np.float32)
    share = np.maximum(share, 1 - share)  # the item itself has the larger share
    other = rng.permutation(len(inputs))
    own = share[:, :, None, None]
    return own * inputs + (1 - own) * inputs[other], share * targets + (1 - share) * targets[other]
