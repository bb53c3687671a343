"""Winograd's sums are the direct convolution's, forwards and backwards, at every size of map."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from training.network import CLASS_MAPS, build
from training.winograd import WinogradConv2D


def layers(rows, columns, channels=3, filters=5):
    """The direct layer and Winograd's with the same weights."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 3, channels, filters)), rng.normal(size=filters)]
    pair = []
    for kind in (keras.layers.Conv2D, WinogradConv2D):
        layer = kind(filters, 3, padding="same", activation="relu")
        layer.build((None, rows, columns, channels))
        layer.set_weights(weights)
        pair.append(layer)
    return pair


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (28, 28), (14, 14), (7, 9), (4, 5), (3, 3), (1, 2)])
def test_the_maps_are_those_of_the_direct_convolution(rows, columns):
    maps = np.random.default_rng(1).normal(size=(2, rows, columns, 3)).astype(np.float32)
    direct, winograd = layers(rows, columns)
    np.testing.assert_allclose(np.asarray(winograd(maps)), np.asarray(direct(maps)), atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_of_training_moves_the_weights_to_the_same_place(compiled):
    rng = np.random.default_rng(2)
    maps, wanted = rng.normal(size=(4, 10, 10, 3)).astype(np.float32), rng.normal(size=(4, 10, 10, 5))
    direct, winograd = layers(10, 10)
    before = direct.get_weights()
    for layer, jit in ((direct, False), (winograd, compiled)):
        inputs = keras.Input((10, 10, 3))
        below = keras.layers.Dense(3, kernel_initializer="identity")  # it learns from what comes back through the maps
        learner = keras.Model(inputs, layer(below(inputs)))
        learner.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        learner.train_on_batch(maps, wanted)
        layer.below = below.get_weights()
    for weights in zip(before, direct.get_weights(), winograd.get_weights(), strict=True):
        old, by_direct, by_winograd = weights
        assert np.abs(by_direct - old).max() > 1e-3
        np.testing.assert_allclose(by_winograd, by_direct, atol=1e-5)
    for by_direct, by_winograd in zip(direct.below, winograd.below, strict=True):
        np.testing.assert_allclose(by_winograd, by_direct, atol=1e-5)


def test_a_network_of_any_size_takes_pictures_of_every_size():
    """Views of several sizes share one network; where the size is unknown the layer computes in the usual way."""
    keras.utils.set_random_seed(0)
    direct = build(None, 3, width=1 / 16, hidden=8)
    winograd = build(None, 3, width=1 / 16, hidden=8, winograd=True)
    winograd.set_weights(direct.get_weights())
    for size in (32, 48):
        pixels = np.random.default_rng(size).uniform(0, 255, (1, size, size, 3)).astype(np.float32)
        ours, theirs = (np.asarray(network(pixels)[CLASS_MAPS]) for network in (winograd, direct))
        assert ours.shape == (1, size // 16, size // 16, 3)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
