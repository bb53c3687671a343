"""Views show the right share of an image, augmentation can be switched off, and a batch depends only on its step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.config import TINY, Stage
from training.data.augmentation import augmented, shades_of_grey
from training.data.batches import Views, mixed
from training.data.dataset import LabelledImage

WHOLE = (1.0, 1.0)


def test_augmentation_changes_views_and_its_switch_turns_it_off():
    rng = np.random.default_rng(0)
    square = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    seen = [augmented(square, 64, WHOLE, rng, 1.0) for _ in range(4)]
    assert all(np.abs(view.astype(float) - square).mean() > 5 for view in seen)
    assert np.array_equal(augmented(square, 64, WHOLE, rng, 0.0), square)
    assert augmented(square, 48, WHOLE, rng, 0.0).shape == augmented(square, 48, WHOLE, rng, 1.0).shape == (48, 48, 3)
    assert replace(TINY, augmentation=0.0).as_json()["augmentation"] == 0


@pytest.mark.parametrize(("field", "least", "most"), [((1.0, 1.0), 0.8, 1.25), ((0.5, 0.5), 3.0, 5.0)])
def test_a_view_shows_the_share_of_its_image_that_was_asked_for_and_nothing_twice(field, least, most):
    square = np.full((64, 64, 3), 120, np.uint8)
    square[24:40, 24:40] = (200, 40, 40)  # a red lesion in the middle
    reds = []
    for seed in range(40):
        view = augmented(square, 64, field, np.random.default_rng(seed), 1.0).astype(int)
        reds.append(int(np.sum(view[..., 0] - view[..., 1] > 60)) / 16**2)
    assert least < np.median(reds) < most
    assert min(reds) > 0.6 * least


def test_shades_of_grey_takes_the_lights_colour_away():
    scene = np.random.default_rng(0).integers(60, 200, (32, 32, 3)).astype(np.uint8)
    under_tungsten = np.clip(scene * (1.2, 1.0, 0.6), 0, 255).astype(np.uint8)
    means = shades_of_grey(under_tungsten).reshape(-1, 3).mean(axis=0)
    assert means.max() - means.min() < 8 < np.ptp(under_tungsten.reshape(-1, 3).mean(axis=0))


def test_batches_are_the_same_for_the_same_step_however_they_are_asked_for():
    squares = np.random.default_rng(1).integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)
    images = [LabelledImage("a", "a", str(i), Path(), i % 3, str(i), ()) for i in range(20)]

    def views():
        return Views(squares, images, np.arange(20), 3, Stage("views", 80, 24, (0.6, 1.0)), replace(TINY, batch=4))

    in_order = views()
    kept = [in_order.at(step) for step in range(7)]
    resumed = views().at(6)
    assert np.array_equal(kept[6][0], resumed[0])
    assert np.array_equal(kept[6][1], resumed[1])
    assert not np.array_equal(kept[0][0], kept[5][0])
    assert kept[0][0].shape == (4, 24, 24, 3)
    assert np.allclose(kept[0][1].sum(axis=1), 1)


def test_mixup_mixes_pixels_and_labels_by_the_same_shares():
    rng = np.random.default_rng(3)
    targets = np.eye(16, dtype=np.float32)  # every item its own class: the shares can be read off the labels
    inputs = np.broadcast_to(targets[:, None, None, :], (16, 2, 2, 16)).copy()
    features, labels = mixed(inputs, targets, 0.4, rng)
    assert np.allclose(features[:, 0, 0], labels)
    assert np.allclose(labels.sum(axis=1), 1)
    assert (labels.argmax(axis=1) == np.arange(16)).all()  # mostly itself
    assert (labels.max(axis=1) < 1).any()
    assert mixed(inputs, targets, 0.0, rng)[0] is inputs
