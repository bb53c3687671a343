"""What this project began with, on today's data and split, so that the gain over it can be seen.

A frozen VGG16 with its last pooling, a dense head on the flattened maps, and views turned, flipped and zoomed; images
drawn as they come, no balance between classes or kinds, the usual cross-entropy. The frozen base's features are
computed once and then learned from in several passes.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import keras
import numpy as np
from PIL import Image

from training.dataset import LABELS
from training.network import build, load_pretrained
from training.progress import Progress
from training.splits import CALIBRATION, TRAIN, VALIDATION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from training.material import Material

HIDDEN, DROPOUT, LEARNING_RATE, BATCH, PASSES = 256, 0.5, 1e-4, 32, 10


def original_recipe(
    material: Material, weights: str, *, size: int, views: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Trains it on `views` views; returns the logits (n, labels) of the calibration and validation images."""
    whole = build(size, len(LABELS))
    load_pretrained(whole, weights)
    pooled = keras.layers.MaxPooling2D(2, name="block5_pool")(whole.get_layer("block5_conv3").output)
    base = keras.Model(whole.input, pooled)
    base.compile(jit_compile=False)
    rng = np.random.default_rng(seed)

    drawn = rng.choice(material.rows[TRAIN], views)
    seen = _features(base, (view(material.squares[i], rng) for i in drawn), views, "views for the original recipe")
    head = keras.Sequential(
        [
            keras.Input(seen.shape[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(HIDDEN, activation="relu"),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(len(LABELS)),
        ]
    )
    head.compile(keras.optimizers.Adam(LEARNING_RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    head.fit(seen, material.labels(drawn), batch_size=BATCH, epochs=PASSES, verbose=0)
    logits = {}
    for split in (CALIBRATION, VALIDATION):
        rows = material.rows[split]
        features = _features(base, (material.squares[i] for i in rows), len(rows), f"{split} images")
        logits[split] = np.asarray(head.predict(features, batch_size=BATCH, verbose=0), dtype=np.float64)
    return logits


def view(square: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turned by up to 40 degrees, zoomed by up to a fifth, flipped; edges are drawn out, as an image generator does."""
    picture = Image.fromarray(np.pad(square, ((64, 64), (64, 64), (0, 0)), mode="edge"))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = picture.rotate(rng.uniform(-40, 40), Image.Resampling.BILINEAR)
    side = square.shape[0] * rng.uniform(0.8, 1.2)
    middle = turned.width / 2
    box = (middle - side / 2, middle - side / 2, middle + side / 2, middle + side / 2)
    return np.asarray(turned.resize(square.shape[:2], Image.Resampling.BILINEAR, box=box))


def _features(base: keras.Model, squares: Iterable[NDArray[np.uint8]], count: int, what: str) -> NDArray[np.float16]:
    features: list[NDArray[np.float16]] = []
    rest = iter(squares)
    with Progress(what, count) as progress:
        for batch in iter(lambda: list(itertools.islice(rest, BATCH)), []):
            maps = base.predict_on_batch(np.stack(batch).astype(np.float32))
            features.append(np.asarray(maps, np.float16))
            progress.advance(len(batch))
    return np.concatenate(features)
