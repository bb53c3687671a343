"""Intervals resample lesions, hold what they should as often as they say, and never shrink to a point."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import RESAMPLES, estimate, interval, lesion_weights, mean_recall, shares


def test_images_of_one_lesion_are_drawn_together_and_every_draw_has_as_many_lesions():
    lesions = np.array(["a", "b", "a", "c", "c", "c"])
    weights = lesion_weights(lesions)
    assert weights.shape == (1 + RESAMPLES, 6)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (lesion_weights(lesions) == weights).all()
    assert (lesion_weights(lesions, seed=1) != weights).any()


def test_copies_of_an_image_add_no_certainty():
    rng = np.random.default_rng(0)
    hits = rng.random(60) < 0.7
    once = interval(shares(lesion_weights(np.arange(60).astype(str)), hits))
    copied = interval(shares(lesion_weights(np.repeat(np.arange(60), 5).astype(str)), np.repeat(hits, 5)))
    pretended = interval(shares(lesion_weights(np.arange(300).astype(str)), np.repeat(hits, 5)))
    assert copied[1] - copied[0] == pytest.approx(once[1] - once[0], rel=0.1)
    assert pretended[1] - pretended[0] < 0.6 * (once[1] - once[0])


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for k in range(100):
        low, high = interval(shares(lesion_weights(np.arange(80).astype(str), seed=k), rng.random(80) < 0.75))
        held += low <= 0.75 <= high
    assert 88 <= held <= 99


def test_shares_and_recalls_of_the_data_itself_stand_first():
    truth, hits = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 1], dtype=bool)
    weights = lesion_weights(np.array(list("abcd")))
    assert shares(weights, hits)[0] == pytest.approx(0.75)
    assert shares(weights, hits, truth == 0)[0] == pytest.approx(2 / 3)
    assert mean_recall(weights, hits, truth)[0] == pytest.approx(5 / 6)
    assert np.isnan(shares(weights, hits, truth == 7)).all()
    assert estimate(shares(weights, hits, truth == 7)) == (None, None)


def test_a_share_on_which_all_lesions_agree_is_not_certain():
    weights = lesion_weights(np.arange(40).astype(str))
    assert estimate(shares(weights, np.ones(40)), 40) == (1.0, [1 - 3 / 40, 1.0])
    assert estimate(shares(weights, np.zeros(40)), 40) == (0.0, [0.0, 3 / 40])
    assert estimate(shares(weights[:, :2], np.ones(2)), 2) == (1.0, [0.0, 1.0])
