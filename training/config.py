"""Everything that decides what a training run yields. A run's configuration is stored with its bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from training.sampling import EVEN, SQUARE_ROOT


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with the same blocks free."""

    name: str
    first_block: int
    """Blocks from this one up are trained; 6 is the head alone."""
    epochs: int
    learning_rate: float
    """Peak; warmed up to over the first tenth, then lowered to nothing along a half cosine."""
    class_power: float = SQUARE_ROOT
    """Classes of one kind of image are drawn in proportion to this power of their counts."""


@dataclass(frozen=True, slots=True)
class Config:
    """Defaults are those of the shipped bundle."""

    size: int = 224
    width: float = 1.0
    """Below 1: a small VGG without published weights, for tests."""
    dropout: float = 0.3
    hidden: int = 256
    """Channels of the head's 1x1 layer."""
    frozen_blocks: int = 4
    """Blocks that are never trained, their output cached; 0 trains on freshly augmented pixels (accelerators)."""
    augmentation: float = 1.0
    """0 switches augmentation off."""
    draws: int = 30_000
    """Augmented views that are drawn and cached, or that one pass is long."""
    epoch: int = 7_500
    """Draws after which the network is tried on the calibration split."""
    batch: int = 32
    label_smoothing: float = 0.05
    weight_decay: float = 0.01
    patience: int = 2
    """Epochs without a better balanced accuracy after which a phase ends."""
    phases: tuple[Phase, ...] = (
        Phase("head", first_block=6, epochs=2, learning_rate=1e-3),
        Phase("block 5 and head", first_block=5, epochs=12, learning_rate=1e-4),
        Phase("settling", first_block=5, epochs=2, learning_rate=3e-5),
        Phase("head, even draws", first_block=6, epochs=4, learning_rate=3e-4, class_power=EVEN),
    )
    seed: int = 20261123
    quantisation_images: int = 64
    """Training images on which the activations' ranges are read off."""

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


ACCELERATOR = Config(
    frozen_blocks=0,
    phases=(
        Phase("head", first_block=6, epochs=2, learning_rate=1e-3),
        Phase("block 5 and head", first_block=5, epochs=6, learning_rate=1e-4),
        Phase("all blocks", first_block=1, epochs=40, learning_rate=5e-5),
        Phase("head, even draws", first_block=6, epochs=4, learning_rate=3e-4, class_power=EVEN),
    ),
)
"""All blocks, on freshly augmented pixels."""

TINY = Config(
    size=64,
    width=1 / 16,
    hidden=16,
    frozen_blocks=2,
    draws=320,
    epoch=160,
    batch=16,
    phases=(
        Phase("head", first_block=6, epochs=2, learning_rate=1e-2),
        Phase("blocks 3 to 5", first_block=3, epochs=4, learning_rate=3e-3),
        Phase("head, even draws", first_block=6, epochs=1, learning_rate=1e-3, class_power=EVEN),
    ),
    quantisation_images=8,
)
"""A few images, seconds of training: what the tests run."""
