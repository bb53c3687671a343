"""Networks of keras.applications that the class-map head fits on, beside VGG16.

Each wants its pixels scaled in its own way; that is folded into the network, so that serving hands every one the same
bytes. Without published weights such a comparison means nothing: from a few thousand images none of them learns to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

VGG16 = "VGG16"
BACKBONE = "backbone"
"""The layer that another backbone is, as a whole."""

_AS_THEY_ARE, _AROUND_ZERO, _STANDARDISED = "pixels as they are", "pixels from -1 to 1", "ImageNet's mean and deviation"
SCALINGS = {
    "EfficientNetV2B0": _AS_THEY_ARE,
    "EfficientNetV2B1": _AS_THEY_ARE,
    "EfficientNetV2S": _AS_THEY_ARE,
    "ConvNeXtTiny": _AS_THEY_ARE,
    "ConvNeXtSmall": _AS_THEY_ARE,
    "MobileNetV3Small": _AS_THEY_ARE,
    "MobileNetV3Large": _AS_THEY_ARE,
    "MobileNetV2": _AROUND_ZERO,
    "Xception": _AROUND_ZERO,
    "InceptionV3": _AROUND_ZERO,
    "ResNet50V2": _AROUND_ZERO,
    "DenseNet121": _STANDARDISED,
    "DenseNet201": _STANDARDISED,
}
"""How each wants its RGB pixels of 0..255; those with the first have their scaling built in."""
BACKBONES = (VGG16, *SCALINGS)


def application(name: str) -> Callable[..., keras.Model]:
    """The function of keras.applications that builds `name`.

    Raises:
        TrainingError: the head does not fit on it.
    """
    if name not in BACKBONES:
        raise TrainingError(f"The backbone {name!r} is not one of {', '.join(BACKBONES)}.")
    builder: Callable[..., keras.Model] = getattr(keras.applications, name)
    return builder


def backbone_maps(name: str, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The last maps (n, rows, columns, channels) of `name`, from (n, size, size, 3) pixels of 0..255."""
    x = inputs
    if SCALINGS.get(name) == _AROUND_ZERO:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="around_zero")(x)
    elif SCALINGS.get(name) == _STANDARDISED:
        mean, deviation = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        scale = [1 / d for d in deviation]
        offset = [-m / d for m, d in zip(mean, deviation, strict=True)]
        x = keras.layers.Rescaling(scale, offset=offset, name="standardised")(x)
    network = application(name)(include_top=False, weights=None, input_shape=tuple(inputs.shape[1:]))
    network.name = BACKBONE
    return network(x)
