"""A pruned network computes nearly what the whole one does, before it has learned anything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

WHOLE = (8, 8, 16, 16, 24, 24, 24, 32, 32, 32, 32, 32, 32)
HALF = tuple(channels // 2 for channels in WHOLE)


def with_idle_channels(model, layers) -> None:
    """Makes every second channel count for next to nothing in the layer above: what pruning is made for."""
    for below, name in itertools.pairwise(layers):
        kernel, bias = model.get_layer(name).get_weights()
        idle = np.random.default_rng(len(name)).permutation(model.get_layer(below).filters)[::2]
        kernel[:, :, idle] *= 0.01
        model.get_layer(name).set_weights([kernel, bias])


@pytest.mark.training
def test_channels_that_hardly_count_are_taken_out_and_what_the_others_compute_stays():
    import keras

    from training.network.architecture import FEATURES, build
    from training.network.pruning import LAYERS, prune

    keras.utils.set_random_seed(1)
    whole, slim = build(64, 3, channels=WHOLE, hidden=8), build(64, 3, channels=HALF, hidden=8)
    with_idle_channels(whole, LAYERS)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 64, 3)).astype(np.uint8)
    errors = prune(whole, slim, pixels, seed=0)
    assert list(errors) == list(LAYERS)
    assert max(errors.values()) < 0.08  # without the fit 0.1 to 0.5
    features = keras.Model(slim.input, slim.output[FEATURES])(pixels.astype(np.float32))
    random = build(64, 3, channels=HALF, hidden=8)
    other = keras.Model(random.input, random.output[FEATURES])(pixels.astype(np.float32))
    ours = np.asarray(keras.Model(whole.input, whole.output[FEATURES])(pixels.astype(np.float32)))

    def told(values):  # how well the whole network's features follow from these, on held-back images
        x = np.c_[np.asarray(values), np.ones(len(values))]
        weights = np.linalg.lstsq(x[:48], ours[:48], rcond=1e-3)[0]
        return np.sqrt(np.mean((x[48:] @ weights - ours[48:]) ** 2) / ours[48:].var())

    assert told(features) < 0.75 * told(other)
