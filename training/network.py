"""VGG16 under a class-map head, in Keras 3 (any backend).

The convolutions are those of Simonyan & Zisserman 2014 without the last pooling, so that the maps keep 14 x 14 cells
for 224 pixels. The head reads block 5 and, beside it, block 4's finer and less specialised features; its last step is
one 1x1 convolution to one map per class and a global average (Zhou et al. 2016), so that the maps add up to the answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from training.backbones import BACKBONE, VGG16, application, backbone_maps
from training.config import VGG16_CHANNELS
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

# (name, convolutions) as in the paper, and as keras.applications names them.
BLOCKS = (("block1", 2), ("block2", 2), ("block3", 3), ("block4", 3), ("block5", 3))
# ImageNet's mean, in RGB order; the published weights want it subtracted and nothing else.
IMAGENET_MEAN = (123.68, 116.779, 103.939)
CLASS_MAPS, FEATURES, LOGITS = "class_maps", "features", "logits"
HEAD = "head"


def build(
    size: int | None,
    labels: int,
    *,
    channels: Sequence[int] = VGG16_CHANNELS,
    dropout: float = 0.3,
    hidden: int = 256,
    backbone: str = VGG16,
) -> keras.Model:
    """The whole network: (n, size, size, 3) RGB pixels of 0..255 to class maps, features and logits.

    `size` None takes any size (n, rows, columns, 3): views of training may be smaller than what is served. `channels`
    are those of the thirteen convolutions. `backbone` names another network of `training.backbones`, whose last maps
    the same head then reads.
    """
    inputs = keras.Input((size, size, 3), name="pixels")
    maps = _vgg16(inputs, channels) if backbone == VGG16 else [backbone_maps(backbone, inputs)]
    # (n, size/16, size/16, channels) of both blocks; each channel brought to one scale before they meet.
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
    """Block 5's maps before their pooling, and block 4's after it: the same grid."""
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


def load_pretrained(model: keras.Model, weights: str, backbone: str = VGG16) -> None:
    """Copies the published convolutions in: `weights` is `imagenet` (Keras downloads them) or a file.

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
                kernel = np.ascontiguousarray(kernel[:, :, ::-1, :])  # published for BGR; our pixels are RGB
            model.get_layer(layer.name).set_weights([kernel, bias])


def block_of(layer: keras.layers.Layer) -> int:
    """The number of the block that `layer` belongs to; the head counts as 6."""
    if layer.name == BACKBONE:
        return 4  # another backbone learns as a whole, at one rate
    return int(layer.name[5]) if layer.name.startswith("block") else 6
