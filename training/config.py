"""Everything that decides what a training run yields. A run's configuration is stored with its bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from training.backbones import VGG16
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
    size: int | None = None
    """Side of the views in pixels, which show things at the scale that is served; None: as large as served."""
    class_power: float = SQUARE_ROOT
    """Classes of one kind of image are drawn in proportion to this power of their counts."""
    regularisation: float = 1.0
    """Share of the configuration's augmentation, mixup, dropout and label smoothing that is in force."""


@dataclass(frozen=True, slots=True)
class Config:
    """Defaults are those that made the shipped bundle, which took over its limits of image quality (`degraded`: 0)."""

    backbone: str = VGG16
    """One of `training.backbones.BACKBONES`."""
    size: int = 224
    width: float = 1.0
    """Below 1: a small VGG without published weights, for tests."""
    dropout: float = 0.3
    hidden: int = 256
    """Channels of the head's 1x1 layer."""
    frozen_blocks: int = 3
    """Blocks that are never trained, and run in 8 bits; 0: every block is free, in float (accelerators)."""
    augmentation: float = 1.0
    """0 switches augmentation off."""
    epoch: int = 4_000
    """Views after which the network is tried on the calibration split."""
    batch: int = 16
    label_smoothing: float = 0.05
    mixup: float = 0.2
    """Alpha of the Beta distribution that two views' features are mixed by (Verma et al. 2019); 0: not at all."""
    source_share: float = 0.25
    """Least share of the draws that each kind of image gets."""
    weight_decay: float = 0.01
    patience: int = 3
    """Epochs without a better score after which a phase ends."""
    phases: tuple[Phase, ...] = (
        Phase("head", first_block=6, epochs=2, learning_rate=1e-3, size=128),
        Phase("blocks 4 and 5, small views", first_block=4, epochs=6, learning_rate=8e-5, size=128),
        Phase("blocks 4 and 5, larger views", first_block=4, epochs=2, learning_rate=6e-5, size=160),
        Phase("blocks 4 and 5, whole views", first_block=4, epochs=2, learning_rate=4e-5),
        Phase("the same once more", first_block=4, epochs=2, learning_rate=4e-5),
        Phase("half the regularisation", first_block=4, epochs=2, learning_rate=4e-5, size=192, regularisation=0.5),
        Phase("whole views at the end", first_block=4, epochs=1, learning_rate=3e-5, regularisation=0.5),
    )
    seed: int = 20261123
    quantisation_images: int = 64
    """Training images on which the activations' ranges are read off."""
    degraded: int = 25
    """Calibration lesions of each class and folder that are made worse to find the limits of image quality; 0: none."""
    remembered: int = 1_000
    """Training images whose features the network file keeps, to tell what is unlike them."""

    @property
    def architecture(self) -> dict[str, Any]:
        """What `training.network.build` takes beside the size and the number of labels."""
        return {"width": self.width, "dropout": self.dropout, "hidden": self.hidden, "backbone": self.backbone}

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


ACCELERATOR = Config(
    frozen_blocks=0,
    batch=32,
    phases=(
        Phase("head", first_block=6, epochs=1, learning_rate=1e-3),
        Phase("blocks 4 to 6", first_block=4, epochs=4, learning_rate=1e-4),
        Phase("all blocks", first_block=1, epochs=40, learning_rate=5e-5),
        Phase("head, even draws", first_block=6, epochs=2, learning_rate=3e-4, class_power=EVEN),
    ),
    patience=10,
)
"""All blocks, in float."""

TINY = Config(
    size=64,
    width=1 / 16,
    hidden=16,
    frozen_blocks=2,
    epoch=160,
    phases=(
        Phase("head", first_block=6, epochs=2, learning_rate=1e-2, size=48),
        Phase("blocks 3 to 5", first_block=3, epochs=4, learning_rate=3e-3),
        Phase("head, even draws", first_block=6, epochs=1, learning_rate=1e-3, class_power=EVEN),
    ),
    quantisation_images=8,
    remembered=64,
    degraded=0,
)
"""A few images, seconds of training: what the tests run."""
