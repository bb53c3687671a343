"""The configuration of a training run, which is stored with its bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

VGG16 = "VGG16"
VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""Output channels of VGG16's thirteen convolutions (Simonyan & Zisserman 2014, configuration D)."""
_EVEN = 8
"""Channels are a multiple of it: vector units take several at once."""


def channels_of(share: float) -> tuple[int, ...]:
    """VGG16's channels when about `share` of them is left, 0 to 1."""
    return tuple(max(_EVEN, _EVEN * round(share * whole / _EVEN)) for whole in VGG16_CHANNELS)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training, with views of one size."""

    name: str
    views: int
    """Number of augmented images."""
    size: int
    """Side of the views in pixels."""
    field: tuple[float, float]
    """The least and the largest share of the image's side that a view shows."""


@dataclass(frozen=True, slots=True)
class Config:
    """The defaults are those of a network that learns from labels; `TAUGHT` learns from such networks."""

    backbone: str = VGG16
    """One of `training.network.architecture.BACKBONES`."""
    size: int = 224
    channels: tuple[int, ...] = channels_of(0.5)
    """Channels of VGG16's thirteen convolutions; if they are fewer than the published ones, the network is pruned."""
    dropout: float = 0.3
    hidden: int = 256
    """Channels of the head's 1x1 layer."""
    pruning_images: int = 96
    """Number of training images that the pruned layers are fitted on."""
    batch: int = 128
    learning_rate: float = 2.5e-4
    """Of block 5, after a warm-up and until the last stage, where it falls to 0 along half a cosine."""
    warm_up: int = 12_800
    """Views over which the learning rate rises."""
    layer_decay: float = 0.8
    """Factor on the learning rate of each block relative to the block above it (Howard & Ruder 2018)."""
    head_factor: float = 5.0
    """Factor on the head's learning rate relative to block 5, because the head starts from random weights."""
    weight_decay: float = 0.02
    average: int = 32_000
    """Time constant, in views, of the exponential average of the weights (Polyak & Juditsky 1992)."""
    augmentation: float = 1.0
    """Strength; 0 switches augmentation off."""
    label_smoothing: float = 0.05
    mixup: float = 0.2
    """Alpha of the Beta distribution that shares are drawn from (Zhang et al. 2018); 0 switches mixup off."""
    class_power: float = 0.5
    """Within a data folder, classes are drawn in proportion to this power of their counts."""
    source_share: float = 0.1
    """The least share of the draws for each data folder."""
    stages: tuple[Stage, ...] = (
        Stage("views of 160 pixels", views=512_000, size=160, field=(0.6, 1.05)),
        Stage("views of 224 pixels", views=384_000, size=224, field=(0.75, 1.1)),
    )
    judged: int = 32_000
    """Views between two evaluations on the calibration split."""
    seed: int = 20261125
    """Decides the splits, and with `variant` draws and views."""
    variant: int = 0
    """Networks that teach another one together differ in it."""
    quantisation_images: int = 64
    """Number of training images that the ranges of activations are measured on."""
    degraded: int = 25
    """Calibration lesions per class and folder that are degraded to find the limits of image quality; 0: none."""
    remembered: int = 1_000
    """Number of training images whose features the network file keeps, to notice images that are unlike them."""

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `training.network.architecture.build` other than size and labels."""
        return {
            "channels": self.channels,
            "dropout": self.dropout,
            "hidden": self.hidden,
            "backbone": self.backbone,
        }

    @property
    def views(self) -> int:
        """Number of augmented images in all stages."""
        return sum(stage.views for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """The configuration that `as_json` gave."""
        stages = tuple(Stage(**{**stage, "field": tuple(stage["field"])}) for stage in values["stages"])
        return cls(**{**values, "stages": stages, "channels": tuple(values["channels"])})


TAUGHT = replace(
    Config(),
    batch=32,
    learning_rate=1e-4,
    warm_up=1_600,
    average=16_000,
    mixup=1.0,
    label_smoothing=0.0,
    stages=(
        Stage("views of 160 pixels", views=48_000, size=160, field=(0.6, 1.05)),
        Stage("views of 224 pixels", views=40_000, size=224, field=(0.75, 1.1)),
    ),
    judged=8_000,
)
"""Of a network that learns from other networks' probabilities and starts from the weights of one of them.

The networks know the training images nearly by heart. Half-and-half mixtures are new to them, so what they say of those
tells more than the labels do (Beyer et al. 2022).
"""

TINY = Config(
    size=64,
    channels=(4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32),
    hidden=16,
    batch=16,
    learning_rate=3e-3,
    warm_up=3_200,
    layer_decay=1.0,
    head_factor=2.0,
    average=64,
    stages=(Stage("small views", 640, 48, (0.6, 1.05)), Stage("whole views", 640, 64, (0.75, 1.1))),
    judged=640,
    quantisation_images=8,
    remembered=64,
    degraded=0,
)
"""Trains on few images within seconds, for tests and for trying the pipeline out."""
