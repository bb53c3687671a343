"""Everything that decides what a training run yields. A run's configuration is stored with its bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from training.backbones import VGG16

VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""Output channels of the thirteen convolutions (Simonyan & Zisserman 2014, configuration D)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training on views of one size."""

    name: str
    views: int
    """How many augmented images are learned from."""
    size: int
    """Side of the views in pixels."""
    field: tuple[float, float]
    """Least and largest share of the image's side that a view shows."""


@dataclass(frozen=True, slots=True)
class Config:
    """Defaults are those that made the shipped bundle."""

    backbone: str = VGG16
    """One of `training.backbones.BACKBONES`."""
    size: int = 224
    channels: tuple[int, ...] = tuple(c // 2 for c in VGG16_CHANNELS)
    """Of VGG16's thirteen convolutions. With fewer than the published ones, the published network is pruned to them."""
    dropout: float = 0.3
    hidden: int = 256
    """Channels of the head's 1x1 layer."""
    pruning_images: int = 96
    """Training images on which the pruned layers are fitted to what the whole ones compute."""
    batch: int = 32
    learning_rate: float = 1.5e-4
    """Of block 5: warmed up to, held, and lowered to nothing along half a cosine over the last stage."""
    layer_decay: float = 0.8
    """Each block below block 5 learns this much more slowly than the one above it (Howard & Ruder 2018)."""
    head_factor: float = 5.0
    """The head, which starts from random weights, learns this much faster than block 5."""
    weight_decay: float = 0.02
    average: int = 16_000
    """Views over which the weights that are kept are averaged (exponentially: Polyak & Juditsky 1992)."""
    augmentation: float = 1.0
    """0 switches augmentation off."""
    label_smoothing: float = 0.05
    mixup: float = 0.2
    """Alpha of the Beta distribution that two views are mixed by (Zhang et al. 2018); 0: not at all."""
    class_power: float = 0.5
    """Classes of one kind of image are drawn in proportion to this power of their counts."""
    source_share: float = 0.1
    """Least share of the draws that each data folder gets."""
    stages: tuple[Stage, ...] = (
        Stage("views of 160 pixels", views=96_000, size=160, field=(0.6, 1.05)),
        Stage("views of 224 pixels", views=32_000, size=224, field=(0.75, 1.1)),
    )
    judged: int = 16_000
    """Views after which the network is tried on the calibration split."""
    seed: int = 20261125
    quantisation_images: int = 64
    """Training images on which the activations' ranges are read off."""
    degraded: int = 25
    """Calibration lesions of each class and folder that are made worse to find the limits of image quality; 0: none."""
    remembered: int = 1_000
    """Training images whose features the network file keeps, to tell what is unlike them."""

    @property
    def architecture(self) -> dict[str, Any]:
        """What `training.network.build` takes beside the size and the number of labels."""
        return {
            "channels": self.channels,
            "dropout": self.dropout,
            "hidden": self.hidden,
            "backbone": self.backbone,
        }

    @property
    def views(self) -> int:
        """How many augmented images are learned from in all."""
        return sum(stage.views for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


TINY = Config(
    size=64,
    channels=(4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32),
    hidden=16,
    batch=16,
    learning_rate=3e-3,
    layer_decay=1.0,
    head_factor=2.0,
    average=64,
    stages=(Stage("small views", 640, 48, (0.6, 1.05)), Stage("whole views", 640, 64, (0.75, 1.1))),
    judged=640,
    quantisation_images=8,
    remembered=64,
    degraded=0,
)
"""A few images, seconds of training: what the tests run."""
