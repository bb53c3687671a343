"""VGG16, or another network of keras.applications, under a class-map head, in Keras 3 (any backend).

VGG16's convolutions are those of Simonyan & Zisserman 2014 without the last pooling, so that 224 pixels give maps of
14 x 14 cells. The head reads block 5 and also block 4, whose features are finer and less specialised. It ends in one
1x1 convolution to one map per class and a global average (Zhou et al. 2016), so the mean of a map is the class's logit.

Other backbones are for comparison. Each expects its pixels scaled in its own way; that scaling becomes part of the
network, so that all of them are served the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from training.config import VGG16, VGG16_CHANNELS
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCKS = (("block1", 2), ("block2", 2), ("block3", 3), ("block4", 3), ("block5", 3))
"""Names as in keras.applications, and numbers of convolutions."""
IMAGENET_MEAN = (123.68, 116.779, 103.939)
"""RGB. VGG16's published weights expect pixels of 0..255 less this mean."""
CLASS_MAPS, FEATURES, LOGITS = "class_maps", "features", "logits"
HEAD, BACKBONE = "head", "backbone"
"""How the head's layer names begin; the name of the single layer that holds another backbone."""

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
"""How each expects its RGB pixels of 0..255; the first group scales them itself."""
BACKBONES = (VGG16, *SCALINGS)


def build(
    size: int | None,
    labels: int,
    *,
    channels: Sequence[int] = VGG16_CHANNELS,
    dropout: float = 0.3,
    hidden: int = 256,
    backbone: str = VGG16,
) -> keras.Model:
    """The network: (n, size, size, 3) RGB pixels of 0..255 to class maps, features and logits.

    With `size` None it takes (n, rows, columns, 3), because training views may be smaller than served images.
    `channels` are those of VGG16's thirteen convolutions. `backbone` is one of `BACKBONES`.
    """
    inputs = keras.Input((size, size, 3), name="pixels")
    maps = _vgg16(inputs, channels) if backbone == VGG16 else [backbone_maps(backbone, inputs)]
    # (n, size/16, size/16, channels of both blocks); the normalisation below brings all channels to the same scale.
    both = keras.layers.Concatenate(name=f"{HEAD}_features")(maps) if len(maps) > 1 else maps[0]
    features = keras.layers.GlobalAveragePooling2D(name=FEATURES, dtype="float32")(both)  # (n, channels of both)
    both = keras.layers.BatchNormalization(momentum=0.95, name=f"{HEAD}_norm")(both)
    both = keras.layers.SpatialDropout2D(dropout, name=f"{HEAD}_dropout_in")(both)
    evidence = keras.layers.Conv2D(hidden, 1, activation="relu", name=f"{HEAD}_evidence")(both)
    evidence = keras.layers.SpatialDropout2D(dropout, name=f"{HEAD}_dropout")(evidence)
    class_maps = keras.layers.Conv2D(labels, 1, dtype="float32", name=CLASS_MAPS)(evidence)
    logits = keras.layers.GlobalAveragePooling2D(dtype="float32", name=LOGITS)(class_maps)  # (n, labels)
    return keras.Model(inputs, {CLASS_MAPS: class_maps, FEATURES: features, LOGITS: logits}, name="class_maps_network")


def _vgg16(inputs: keras.KerasTensor, channels: Sequence[int]) -> list[keras.KerasTensor]:
    """Block 5's maps before pooling and block 4's after pooling: both have the same grid."""
    x = keras.layers.Rescaling(1.0, offset=[-mean for mean in IMAGENET_MEAN], name="minus_imagenet_mean")(inputs)
    left = iter(channels)
    ends: dict[str, keras.KerasTensor] = {}
    for block, convolutions in BLOCKS:
        for i in range(1, convolutions + 1):
            x = keras.layers.Conv2D(next(left), 3, padding="same", activation="relu", name=f"{block}_conv{i}")(x)
        if block != "block5":
            x = keras.layers.MaxPooling2D(2, name=f"{block}_pool")(x)
        ends[block] = x
    return [ends["block5"], ends["block4"]]


def backbone_maps(name: str, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The last maps (n, rows, columns, channels) of the backbone `name`, from pixels of 0..255."""
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


def application(name: str) -> Callable[..., keras.Model]:
    """The function of keras.applications that builds `name`.

    Raises:
        TrainingError: it is not one of `BACKBONES`.
    """
    if name not in BACKBONES:
        raise TrainingError(f"The backbone {name!r} is not one of {', '.join(BACKBONES)}.")
    builder: Callable[..., keras.Model] = getattr(keras.applications, name)
    return builder


def load_pretrained(model: keras.Model, weights: str, backbone: str = VGG16) -> None:
    """Loads published weights: `weights` is `imagenet` (Keras downloads them) or a file.

    Raises:
        TrainingError: the file does not hold the backbone's weights, or they cannot be downloaded.
    """
    if weights != "imagenet" and not Path(weights).is_file():
        raise TrainingError(f"WEIGHTS={weights} is neither 'imagenet' nor a file.")
    try:
        published = application(backbone)(include_top=False, weights=weights)
    except Exception as error:
        raise TrainingError(f"{backbone}'s weights cannot be loaded from {weights}: {error}.") from error
    if backbone != VGG16:
        model.get_layer(BACKBONE).set_weights(published.get_weights())
        return
    for layer in published.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            if layer.name == "block1_conv1":
                kernel = np.ascontiguousarray(kernel[:, :, ::-1, :])  # the published kernels expect BGR
            model.get_layer(layer.name).set_weights([kernel, bias])


def block_of(layer: keras.layers.Layer) -> int:
    """The number of the block that `layer` belongs to; the head is 6."""
    if layer.name == BACKBONE:
        return 4  # another backbone learns at one rate
    return int(layer.name[5]) if layer.name.startswith("block") else 6
