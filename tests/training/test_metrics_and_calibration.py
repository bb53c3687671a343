"""Figures agree with scikit-learn's and with hand-made cases; thresholds keep the promises they state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_answers import CLASSES, answers, made_up
from sklearn import metrics as reference

from model_layer.decision import calibrated, likelier_mass
from training.data.dataset import LABELS
from training.evaluation.metrics import expected_calibration_error, figures, intervals, per_class
from training.fit import calibration


def test_figures_agree_with_scikit_learn():
    _, probabilities, truth = made_up(600)
    predicted = probabilities.argmax(axis=1)
    ours = figures(answers(probabilities, truth), LABELS)
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert ours["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, predicted))
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    assert ours["macro_auc"] == pytest.approx(reference.roc_auc_score(truth, probabilities, multi_class="ovr"))
    own = per_class(answers(probabilities, truth), LABELS)
    precision, recall, _, support = reference.precision_recall_fscore_support(truth, predicted)
    for k, label in enumerate(LABELS):
        assert own[label.code]["n"] == support[k]
        assert own[label.code]["recall"] == pytest.approx(recall[k])
        assert own[label.code]["precision"] == pytest.approx(precision[k])


def test_absent_classes_are_left_out_of_macro_figures():
    probabilities = np.eye(CLASSES)[[0, 0, 1, 1]] * 0.9 + 0.0125
    ours = figures(answers(probabilities, np.array([0, 0, 1, 1])), LABELS)
    assert ours["balanced_accuracy"] == 1
    assert ours["macro_f1"] == 1
    assert ours["macro_auc"] == 1


def test_calibration_error_is_small_for_honest_and_large_for_boastful_confidence():
    logits, probabilities, truth = made_up(5000)
    assert expected_calibration_error(probabilities, truth) < 0.03
    assert expected_calibration_error(calibrated(logits, 0.25), truth) > 0.15


def test_temperature_finds_its_way_back():
    logits, _, truth = made_up(4000)
    assert calibration.temperature(logits * 3, truth) == pytest.approx(3, rel=0.1)


def test_intervals_hold_the_figure_and_shrink_with_more_lesions():
    few, many = (intervals(answers(*made_up(n)[1:]), LABELS)["accuracy_ci"] for n in (100, 1600))
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    value = figures(answers(*made_up(1600)[1:]), LABELS)["accuracy"]
    assert many[0] < value < many[1]


def test_a_share_of_all_lesions_is_no_certainty():
    """Ten malignant lesions, all urgent: at least 70 % of such lesions would be, says the rule of three."""
    _, probabilities, truth = made_up(400)
    made = answers(probabilities, truth, lesions=[f"L{i}" for i in range(400)])
    malignant = np.flatnonzero(np.array([label.malignant for label in LABELS])[made.truth])[:10]
    benign = np.flatnonzero(~np.array([label.malignant for label in LABELS])[made.truth])[:30]
    few = replace(made, urgent=np.ones(len(made.truth), dtype=bool))[np.concatenate([malignant, benign])]
    found = intervals(few, LABELS)
    assert found["triage_sensitivity_ci"] == pytest.approx([0.7, 1.0])
    assert found["triage_specificity_ci"] == pytest.approx([0.0, 0.1])


def test_every_interval_holds_its_figure():
    """Also that of a well calibrated model's calibration error, whose resamples are all noisier than itself."""
    made = answers(*made_up(1500)[1:])
    bounds = intervals(made, LABELS)
    for name, value in figures(made, LABELS).items():
        low, high = bounds[f"{name}_ci"]
        assert low <= value <= high, name


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 12.0])
def test_prediction_sets_cover_what_they_promise_and_no_more(sharpness):
    """Also for a model so sure of itself that its likeliest label alone has nearly all probability."""
    _, seen, seen_truth = made_up(3000, seed=1, sharpness=sharpness)
    _, unseen, unseen_truth = made_up(4000, seed=2, sharpness=sharpness)
    threshold = calibration.conformal_threshold(seen, seen_truth, 0.95)
    in_set = likelier_mass(unseen) <= threshold
    assert in_set[np.arange(4000), unseen.argmax(axis=1)].all()
    assert in_set[np.arange(4000), unseen_truth].mean() == pytest.approx(0.95, abs=0.02)


def test_thresholds_meet_their_targets_on_the_split_they_were_chosen_on():
    _, probabilities, truth = made_up(3000, seed=3)
    chosen = {name: entry["value"] for name, entry in calibration.thresholds(probabilities, truth, LABELS).items()}
    kept = probabilities.max(axis=1) >= chosen["confidence"]
    assert np.mean(probabilities.argmax(axis=1)[kept] == truth[kept]) >= 0.90
    malignant = np.array([label.malignant for label in LABELS])
    urgent = probabilities[:, malignant].sum(axis=1) >= chosen["malignant"]
    assert 0.95 <= urgent[malignant[truth]].mean() < 0.96


def test_thresholds_of_a_hopeless_model_refer_everything():
    rng = np.random.default_rng(0)
    probabilities, truth = np.full((300, CLASSES), 1 / CLASSES), rng.integers(0, CLASSES, 300)
    assert calibration.confidence_threshold(probabilities, truth, 0.9) == 1.0
    assert calibration.conformal_threshold(probabilities[:5], truth[:5], 0.95) == 1.0  # too few to promise anything


def test_a_smaller_collection_counts_for_more_than_its_images():
    """The larger one is easier: thresholds by images alone would promise too much of the other."""
    easy_logits, _, easy_truth = made_up(4000, seed=4, sharpness=4.0)
    hard_logits, _, hard_truth = made_up(400, seed=5, sharpness=1.0)
    logits, truth = np.concatenate([easy_logits, hard_logits]), np.concatenate([easy_truth, hard_truth])
    sources = np.repeat(["easy", "hard"], [4000, 400])
    weights = calibration.by_collection(sources)
    assert weights[:4000].sum() / weights[4000:].sum() == pytest.approx(10**0.5)
    probabilities = calibrated(logits, 1.0)
    scores = likelier_mass(probabilities)[np.arange(4400), truth]
    by_images, weighted = (calibration.conformal_threshold(probabilities, truth, 0.95, own) for own in (None, weights))
    covered = np.array([np.mean(scores[sources == s] <= weighted) for s in ("easy", "hard")])
    assert covered @ [10**0.5, 1] / (10**0.5 + 1) == pytest.approx(0.95, abs=0.01)
    assert np.mean(scores[4000:] <= by_images) < covered[1]
    assert calibration.temperature(logits * 2, truth, weights) == pytest.approx(2, rel=0.1)
