"""Risk-coverage, reliability and prediction sets agree with what can be worked out by hand."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from made_up_answers import CLASSES, answers, made_up

from model_layer.decision import calibrated
from training.data.dataset import LABELS
from training.evaluation.confidence import (
    curve_summary,
    prediction_sets,
    reliability,
    risk_coverage,
    uncalibrated,
)
from training.evaluation.metrics import expected_calibration_error, figures
from training.report.tables import write_prediction_sets, write_risk_coverage


def test_the_risk_coverage_curve_passes_through_the_headline_and_ends_at_the_accuracy():
    made = answers(*made_up(500)[1:])
    curve, headline = risk_coverage(made), figures(made, LABELS)
    at = dict(zip(curve["coverage"], curve["accuracy"], strict=True))
    assert at[0.8] == pytest.approx(headline["accuracy_at_80_coverage"])
    assert at[1.0] == pytest.approx(headline["accuracy"])
    assert at[0.2] > at[0.8] > at[1.0]
    assert curve["confidence"] == sorted(curve["confidence"], reverse=True)
    for value, (low, high) in zip(curve["accuracy"], curve["accuracy_ci"], strict=True):
        assert low <= value <= high


def test_the_area_is_the_mean_error_over_all_coverages():
    probabilities = np.full((4, CLASSES), 0.01)
    probabilities[np.arange(4), [0, 0, 1, 1]] = [0.9, 0.8, 0.7, 0.6]
    curve = risk_coverage(answers(probabilities, [0, 1, 1, 0], lesions=list("abcd")))
    assert curve["area"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_of_few_images_the_surest_is_answered_at_the_smallest_share():
    """With every answer right, so is every share of them, in every draw of lesions."""
    curve = risk_coverage(
        answers(np.eye(CLASSES)[[0, 1, 2, 0, 1]] * 0.9 + 0.01, [0, 1, 2, 0, 1], lesions=list("abcde"))
    )
    assert curve["accuracy"] == [1.0] * len(curve["coverage"])
    assert all(ci == [1.0, 1.0] for ci in curve["accuracy_ci"])


def test_a_confidence_that_knows_nothing_has_a_flat_curve():
    probabilities, truth = made_up(1000)[1:]
    best = np.eye(CLASSES)[probabilities.argmax(axis=1)]
    confidence = np.random.default_rng(0).uniform(0.3, 0.9, (1000, 1))
    blind = risk_coverage(answers(best * confidence + (1 - best) * (1 - confidence) / (CLASSES - 1), truth))
    assert blind["area"] == pytest.approx(1 - blind["accuracy"][-1], abs=0.06)
    assert risk_coverage(answers(probabilities, truth))["area"] < 0.75 * blind["area"]


def test_undoing_the_temperature_gives_back_what_it_was():
    logits, _, truth = made_up(300)
    served = np.round(calibrated(logits, 1.7), 6)
    assert np.allclose(uncalibrated(served, np.full(len(served), 1.7)), calibrated(logits, 1.0), atol=2e-4)
    table = reliability(answers(served, truth, temperature=1.7))
    assert table["ece_after"] == pytest.approx(expected_calibration_error(served, truth))
    assert table["ece_before"] == pytest.approx(expected_calibration_error(calibrated(logits, 1.0), truth), abs=2e-3)


def test_scaling_a_boastful_model_shows_as_an_improvement_beyond_the_intervals():
    logits, _, truth = made_up(1500)
    table = reliability(answers(calibrated(logits * 3, 3.0), truth, temperature=3.0))
    assert table["ece_after"] < 0.03
    assert table["ece_before"] > 0.1
    assert table["ece_after_ci"][1] < table["ece_before_ci"][0]
    for when in ("before", "after"):
        low, high = table[f"ece_{when}_ci"]
        assert low <= table[f"ece_{when}"] <= high


@pytest.mark.parametrize(("images", "least", "most"), [(100, 0.05, 0.15), (20_000, 0.0, 0.012)])
def test_true_confidences_show_an_error_that_few_images_explain(images, least, most):
    """Drawn so that confidences are true: the error lies within what chance gives, and shrinks with the images."""
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.3, 1.0, images)
    probabilities = np.full((images, CLASSES), ((1 - confidence) / (CLASSES - 1))[:, None])
    probabilities[:, 0] = confidence
    truth = np.where(rng.random(images) < confidence, 0, 1)
    table = reliability(answers(probabilities, truth))
    low, high = table["ece_by_chance_ci"]
    assert low <= table["ece_after"] <= high
    assert least < table["ece_by_chance"] < most


def test_an_error_of_boastful_confidences_lies_above_what_chance_gives():
    logits, _, truth = made_up(1500)
    table = reliability(answers(calibrated(logits * 3, 1.0), truth))
    assert table["ece_after"] > table["ece_by_chance_ci"][1]


def test_classes_are_held_to_the_floor_by_their_lesions_not_their_images(tmp_path):
    """Of nv 40 lesions, half of them covered; of mel 40 images, but of 10 lesions; of bkl all are covered."""
    truth = np.repeat([0, 1, 2], [40, 40, 40])
    lesions = [f"n{i}" for i in range(40)] + [f"m{i // 4}" for i in range(40)] + [f"b{i}" for i in range(40)]
    probabilities = np.full((120, CLASSES), 0.02 / CLASSES)
    probabilities[np.arange(120), np.where(np.arange(120) % 2, truth, 5)] += 0.98
    probabilities[80:] = np.eye(CLASSES)[2] * 0.98 + 0.02 / CLASSES
    sets = prediction_sets(answers(probabilities, truth, lesions))
    nv, mel, bkl = (sets["per_class"][code] for code in ("nv", "mel", "bkl"))
    assert nv["coverage"] == mel["coverage"] == 0.5
    assert (nv["held_to_floor"], nv["misses_floor"]) == (True, True)
    assert (mel["lesions"], mel["held_to_floor"], mel["misses_floor"]) == (10, False, False)
    assert (bkl["coverage"], bkl["held_to_floor"], bkl["misses_floor"]) == (1.0, True, False)
    assert bkl["coverage_ci"][0] < 1
    assert sets["overall"]["coverage"] == pytest.approx(80 / 120)
    write_prediction_sets(tmp_path / "sets.csv", {"derm": sets})
    rows = {row["label"]: row["against_floor"] for row in csv.DictReader((tmp_path / "sets.csv").open())}
    assert rows == {"(all)": "", "nv": "under 0.90", "mel": "under 30 lesions", "bkl": "holds"}


def test_the_curve_is_written_in_full_and_summed_up_in_the_metrics(tmp_path):
    curve = risk_coverage(answers(*made_up(200)[1:]))
    write_risk_coverage(tmp_path, {"derm": curve, "all": curve})
    rows = list(csv.DictReader((tmp_path / "risk_coverage.csv").open()))
    assert len(rows) == 2 * 50
    assert (tmp_path / "risk_coverage.png").read_bytes().startswith(b"\x89PNG")
    points = json.loads(json.dumps(curve_summary(curve)))["at_coverage"]
    assert list(points) == ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
    assert float(rows[39]["accuracy"]) == pytest.approx(points["0.8"]["accuracy"], abs=1e-4)
