"""Random views of a training image, as Keras layers.

A lesion has no upright and no fixed distance, so it is turned by any angle, flipped and zoomed; light and camera vary,
so brightness, contrast, saturation and hue do too. What leaves the frame is filled by reflection: a constant border
would teach the network that turned images are special.
"""

from __future__ import annotations

import keras


def augmentation(seed: int, strength: float = 1.0) -> keras.Sequential:
    """(n, size, size, 3) pixels of 0..255 to as many views, in float; `strength` scales the ranges (0: none).

    Two resamplings (turn, zoom) and no third for shifts: each one blurs, and texture is what tells classes apart.
    """
    pixel_range = (0, 255)
    saturation = 0.06 * strength  # around 0.5, which is Keras's "as it was"
    layers = [
        keras.layers.RandomFlip("horizontal_and_vertical", seed=seed),
        keras.layers.RandomRotation(0.5, fill_mode="reflect", seed=seed + 1),  # half a turn either way
        keras.layers.RandomZoom((-0.25 * strength, 0.1 * strength), fill_mode="reflect", seed=seed + 2),
        keras.layers.RandomBrightness(0.12 * strength, value_range=pixel_range, seed=seed + 3),
        keras.layers.RandomContrast(0.15 * strength, value_range=pixel_range, seed=seed + 4),
        keras.layers.RandomSaturation((0.5 - saturation, 0.5 + saturation), value_range=pixel_range, seed=seed + 5),
        keras.layers.RandomHue(0.02 * strength, value_range=pixel_range, seed=seed + 6),
    ]
    return keras.Sequential(layers if strength > 0 else [keras.layers.Identity()], name="augmentation")
