"""What is unlike the training data is told from it, by the network file itself."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from tiny_bundle import SIZE, tiny_network

from training.data.made_up import KINDS, made_up
from training.fit.balance import MULTIPLES, adjustment, merit
from training.fit.calibration import compare_scalings
from training.fit.operating_point import UNLIKE_SHARE, unlike_threshold
from training.network.unlikeness import Gaussians, append_nearest, nearest, scores


@pytest.fixture(scope="module")
def clusters():
    """Features of two classes along two directions, and strangers along a third."""
    rng = np.random.default_rng(4)
    axes = np.eye(12)[:3] * 10
    known = np.concatenate([rng.normal(axes[k], 1.0, (80, 12)) for k in (0, 1)]).clip(0)
    strange = rng.normal(axes[2], 1.0, (60, 12)).clip(0)
    groups = np.repeat([0, 1], 80)
    return known, groups, strange


def test_the_network_file_answers_as_the_formula_does(tmp_path):
    file = tmp_path / "network.onnx"
    file.write_bytes(tiny_network())
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, SIZE, SIZE, 3)).astype(np.uint8)
    before = onnxruntime.InferenceSession(file.read_bytes()).run(["class_maps", "features"], {"pixels": pixels})
    remembered = before[1][:25]
    append_nearest(file, remembered)
    session = onnxruntime.InferenceSession(file.read_bytes())
    maps, features, unlikeness = session.run(["class_maps", "features", "unlikeness"], {"pixels": pixels})
    assert np.array_equal(maps, before[0])
    assert unlikeness.shape == (40,)
    assert np.allclose(unlikeness, nearest(features, remembered), atol=2e-3)
    assert np.ptp(unlikeness) > 0


def test_every_score_is_higher_for_strangers(clusters):
    known, groups, strange = clusters
    logits = known[:, :2]
    others = np.random.default_rng(5).permutation(len(known))[:40]
    for name, score in scores(known, groups, logits).items():
        usual, odd = score(known[others], logits[others]), score(strange, strange[:, :2])
        assert np.median(odd) > np.median(usual), name


def test_mahalanobis_distance_is_that_of_the_definition(clusters):
    known, groups, _ = clusters
    fitted = Gaussians.of(known, groups)
    covariance = np.linalg.inv(fitted.whitening @ fitted.whitening.T)
    from_mean = known[3] - fitted.means[1]
    assert fitted.distances(known[3:4])[0, 1] == pytest.approx(from_mean @ np.linalg.inv(covariance) @ from_mean)


def test_at_most_a_twentieth_of_a_kind_is_called_unlike():
    unlikeness = np.random.default_rng(6).uniform(0, 0.3, 116)
    above = np.mean(unlikeness > unlike_threshold(unlikeness))
    assert above == 5 / 116
    assert above <= UNLIKE_SHARE


def test_made_up_pictures_are_the_same_for_the_same_seed_and_of_every_kind():
    first, second = list(made_up(2, seed=1)), list(made_up(2, seed=1))
    assert [name for name, _ in first] == [name for name in KINDS for _ in range(2)]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    assert not np.array_equal(first[0][1], first[1][1])


def test_balance_takes_out_an_offset_towards_frequent_classes():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 400)
    shares = np.array([0.7, 0.2, 0.07, 0.03])
    logits = 1.5 * np.eye(4)[truth] + rng.normal(0, 0.7, (400, 4)) + np.log(shares)
    sources = np.array(["a"] * 400)
    multiple, offset = adjustment(logits, truth, sources, [str(i) for i in range(400)], shares)
    assert multiple in MULTIPLES
    assert multiple == pytest.approx(1, abs=0.5)
    assert merit(logits + offset, truth, sources) > merit(logits, truth, sources) + 0.1


def test_both_scalings_mend_a_boastful_model():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 600)
    logits = 6 * (np.eye(3)[truth] + rng.normal(0, 0.8, (600, 3)))
    compared = compare_scalings(logits, truth, [str(i // 2) for i in range(600)])
    assert compared["temperature"]["ece"] < compared["none"]["ece"] / 2
    assert compared["vector"]["ece"] < compared["none"]["ece"] / 2
    assert compared["temperature"]["negative_log_likelihood"] < compared["none"]["negative_log_likelihood"]


def test_a_few_images_of_one_kind_do_not_outvote_many_of_another():
    """90 of one kind are labelled right, 10 of the other wrong: the merit is theirs by their numbers."""
    truth = np.arange(100) % 2
    sources = np.array(["many"] * 90 + ["few"] * 10)
    answers = np.where(sources == "many", truth, 1 - truth)
    assert merit(np.eye(2)[answers], truth, sources) == pytest.approx(0.9)
