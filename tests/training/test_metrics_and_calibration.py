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
from training.fit.operating_point import HeldOut, operating_point


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
    _, probabilities, truth = made_up(8000, seed=3, sharpness=3.0)
    chosen = calibration.thresholds(probabilities, truth, LABELS, np.full(8000, "one"), np.ones(8000))
    assert sum(least is not None for least in chosen["confidence"]["labels"].values()) >= CLASSES // 2
    for k, label in enumerate(LABELS):
        least = chosen["confidence"]["labels"][label.code]
        if least is not None:
            kept = (probabilities.argmax(axis=1) == k) & (probabilities.max(axis=1) >= least)
            assert np.mean(truth[kept] == k) >= 0.90
    malignant = np.array([label.malignant for label in LABELS])
    urgent = probabilities[:, malignant].sum(axis=1) >= chosen["malignant"]["value"]
    assert 0.95 <= urgent[malignant[truth]].mean() < 0.96


def answered(right, confidence, label=0):
    """Probabilities (n, labels) and truth (n,) of answers with one `label`; of wrong ones the one before is true."""
    probabilities = np.full((len(right), CLASSES), 0.0)
    probabilities[:, label], probabilities[:, label - 1] = confidence, 1 - np.asarray(confidence)
    return probabilities, np.where(right, label, label - 1)


def test_a_confidence_that_is_trusted_keeps_its_accuracy_on_new_images():
    """Drawn 100 times from a model that is right with a probability of its confidence: wrong choices are rare."""
    rng, broken, chosen = np.random.default_rng(0), 0, 0
    for _ in range(100):
        confidence = rng.uniform(0.55, 1.0, 1500)
        (least, *others) = calibration.confidence_thresholds(*answered(rng.random(1500) < confidence, confidence), 0.90)
        assert others == [None] * (CLASSES - 1)  # no image has these labels
        if least is not None:
            chosen += 1
            broken += (least + 1) / 2 < 0.90  # the true accuracy from there on
    assert chosen > 30
    assert broken <= 0.05 * 100


def test_few_images_show_nothing_however_right_they_are():
    assert calibration.confidence_thresholds(*answered([True] * 20, [0.99] * 20), 0.90)[0] is None
    assert calibration.confidence_thresholds(*answered([True] * 80, [0.99] * 80), 0.90)[0] == 0.99


def test_a_label_that_is_often_wrong_is_not_trusted_for_the_sake_of_another():
    good = answered([True] * 300, np.linspace(0.6, 1, 300), label=3)
    bad = answered([True, False] * 50, np.linspace(0.8, 1, 100), label=5)
    both = (np.concatenate(pair) for pair in zip(good, bad, strict=True))
    chosen = calibration.confidence_thresholds(*both, 0.90)
    assert chosen[3] == pytest.approx(0.6, abs=0.01)
    assert chosen[5] is None


def test_images_that_count_for_little_prove_little():
    """Ninety of a hundred right ones hardly count, so the rest are as few as they are."""
    counts = np.array([1.0] * 10 + [1e-3] * 90)
    assert calibration.confidence_thresholds(*answered([True] * 100, [0.99] * 100), 0.90, counts)[0] is None


def test_strays_of_another_collection_hardly_count_in_a_kind():
    """Fifteen of a thousand dermoscopic images are mistaken for clinical ones, and the model errs on all of them."""
    logits, _, truth = made_up(1300, seed=6, sharpness=3.0)
    truth[985:1000] = logits[985:1000].argmin(axis=1)
    sources = np.repeat(["dermatoscope", "camera"], [1000, 300])
    held = HeldOut(logits, truth, sources, [str(n) for n in range(1300)], np.zeros(1300))
    clinical = np.arange(1300) >= 985
    stated, alone = (operating_point(held, among, "clinical") for among in (clinical, np.arange(1300) >= 1000))
    with_strays, without = (own["calibration"]["temperature"] for own in (stated, alone))
    assert with_strays < 1.4 * without  # counted as a collection of the kind, they would make it 2.8 times as high


def test_thresholds_of_a_hopeless_model_refer_everything():
    rng = np.random.default_rng(0)
    probabilities, truth = np.full((300, CLASSES), 1 / CLASSES), rng.integers(0, CLASSES, 300)
    assert calibration.confidence_thresholds(probabilities, truth, 0.9) == [None] * CLASSES
    assert calibration.conformal_threshold(probabilities[:5], truth[:5], 0.95) == 1.0  # too few to promise anything


def test_sets_and_triage_keep_their_promise_in_each_collection():
    """The larger one is easier: thresholds for both together would promise too much of the smaller."""
    easy_logits, _, easy_truth = made_up(4000, seed=4, sharpness=4.0)
    hard_logits, _, hard_truth = made_up(400, seed=5, sharpness=1.0)
    probabilities = calibrated(np.concatenate([easy_logits, hard_logits]), 1.0)
    truth = np.concatenate([easy_truth, hard_truth])
    sources = np.repeat(["easy", "hard"], [4000, 400])
    malignant = np.array([label.malignant for label in LABELS])
    scores, risk = likelier_mass(probabilities)[np.arange(4400), truth], probabilities[:, malignant].sum(axis=1)

    def kept(own):
        chosen = calibration.thresholds(probabilities, truth, LABELS, own, np.ones(4400))
        for source in ("easy", "hard"):
            there = sources == source
            yield np.mean(scores[there] <= chosen["prediction_set"]["value"])
            yield np.mean(risk[there & malignant[truth]] >= chosen["malignant"]["value"])

    assert min(kept(sources)) >= 0.95
    assert min(kept(np.full(4400, "both"))) < 0.93


def test_a_smaller_collection_counts_for_more_than_its_images():
    easy_logits, _, easy_truth = made_up(4000, seed=4, sharpness=4.0)
    hard_logits, _, hard_truth = made_up(400, seed=5, sharpness=1.0)
    weights = calibration.by_collection(np.repeat(["easy", "hard"], [4000, 400]))
    assert weights[:4000].sum() / weights[4000:].sum() == pytest.approx(10**0.5)
    logits, truth = np.concatenate([easy_logits, hard_logits]), np.concatenate([easy_truth, hard_truth])
    assert calibration.temperature(logits * 2, truth, weights) == pytest.approx(2, rel=0.1)
