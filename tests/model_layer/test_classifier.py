"""Answers come in order, one per image, and say what the bundle's thresholds mean."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sample_images import jpeg, png
from tiny_bundle import LABELS, MALIGNANT, write_tiny_bundle

import model_layer
from model_layer import Classifier, Prediction, Rejection
from model_layer.decision import calibrated, heatmap, likelier_mass


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return Classifier.load(tiny_bundle)


def test_a_bad_image_never_touches_its_neighbours(classifier):
    good = [jpeg(i) for i in range(20)]
    alone = [classifier.classify([data])[0] for data in good]
    mixed = classifier.classify([part for data in good for part in (data, b"not an image", data[:1500])])
    assert [p.label for p in mixed[::3]] == [p.label for p in alone]
    for together, single in zip(mixed[::3], alone, strict=True):
        assert together.probabilities == pytest.approx(single.probabilities, abs=1e-5)
    assert [r.code for r in mixed[1::3]] == ["not_an_image"] * 20
    assert [r.code for r in mixed[2::3]] == ["truncated"] * 20


def test_nothing_in_nothing_out(classifier):
    assert classifier.classify([]) == []
    assert isinstance(classifier.classify([b""])[0], Rejection)


def test_a_prediction_holds_together(classifier):
    for prediction in classifier.classify([jpeg(i) for i in range(30)]):
        assert isinstance(prediction, Prediction)
        assert set(prediction.probabilities) == set(LABELS)
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.confidence == max(prediction.probabilities.values())
        assert prediction.probabilities[prediction.label] == prediction.confidence
        assert prediction.prediction_set[0] == prediction.label
        malignant = sum(prediction.probabilities[code] for code in MALIGNANT)
        assert prediction.triage == ("urgent" if malignant >= 0.4 else "routine")
        assert (prediction.status == "referred") == (prediction.confidence < 0.5) == bool(prediction.reasons)
        assert len(prediction.heatmap.values) == prediction.heatmap.rows * prediction.heatmap.columns
        assert all(0 <= value <= 100 for value in prediction.heatmap.values)


@pytest.mark.parametrize(("confidence", "status"), [(0.0, "classified"), (1.0, "referred")])
def test_the_confidence_threshold_decides_who_is_referred(tmp_path, confidence, status):
    strict = Classifier.load(write_tiny_bundle(tmp_path / "b", confidence=confidence))
    answers = strict.classify([jpeg(i) for i in range(10)])
    assert {answer.status for answer in answers} == {status}
    if status == "referred":
        assert {reason.code for answer in answers for reason in answer.reasons} == {"uncertain"}


def test_threads_share_a_classifier(classifier):
    images = [png(i) for i in range(12)]
    expected = classifier.classify(images)
    seen: list[list] = [[] for _ in range(4)]

    def work(slot: int) -> None:
        for _ in range(5):
            seen[slot].append(classifier.classify(images))

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[expected] * 5] * 4


def test_temperature_keeps_the_order_and_moves_the_confidence():
    logits = np.array([[2.0, 1.0, -1.0]])
    cold, warm = calibrated(logits, 0.5)[0], calibrated(logits, 3.0)[0]
    assert cold.argsort().tolist() == warm.argsort().tolist()
    assert cold.max() > warm.max()


def test_set_scores_add_up_what_is_likelier():
    scores = likelier_mass(np.array([[0.2, 0.5, 0.3]]))[0]
    assert scores == pytest.approx([0.8, 0.0, 0.5])


def test_heatmap_points_at_the_evidence():
    maps = np.zeros((14, 14, 3), dtype=np.float32)
    maps[10:12, 2:4, 1] = 5  # the cell in row 5, column 1 of 7 x 7
    found = heatmap(maps, 1)
    assert (found.rows, found.columns) == (7, 7)
    assert int(np.argmax(found.values)) == 5 * 7 + 1
    assert max(found.values) == 100
    assert max(heatmap(np.zeros((7, 7, 3), dtype=np.float32), 0).values) == 0


def test_public_names_exist():
    assert all(hasattr(model_layer, name) for name in model_layer.__all__)
