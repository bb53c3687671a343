"""The whole way with a tiny VGG and real training: images in, a bundle out that the worker's classifier serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import write_labelled_folder

from model_layer import BATCH, Classifier, Prediction
from training.__main__ import main
from training.augmentation import augmented
from training.batches import Views
from training.config import TINY
from training.configurations import figures, row
from training.dataset import LabelledImage, read_folders
from training.errors import TrainingError
from training.model_card import regenerated
from training.splits import VALIDATION, read_splits
from training.train import judge

DESIGNED = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece", "brier", "accuracy_at_80_coverage")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return [
        write_labelled_folder(root / "derm", ("nv", "nv", "mel", "bkl"), 160, seed=0),
        write_labelled_folder(root / "phone", ("nv", "bcc"), 60, seed=1000),
    ]


@pytest.fixture(scope="module")
def trained(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("train")
    arguments = ["train", "--data", *map(str, folders), "--weights", "none", "--tiny", "--out", str(out)]
    assert main(arguments) == 0
    return out


def test_training_leaves_a_bundle_that_serves_better_than_chance(trained, folders):
    classifier = Classifier.load(trained / "bundle")
    metrics = json.loads((trained / "bundle" / "metrics.json").read_text())
    assert set(metrics) == {"derm", "phone", "all"}
    assert metrics["derm"]["balanced_accuracy"] > 0.5  # three classes told apart by colour; chance is 0.33
    images = read_folders(folders)[:BATCH]
    answers = classifier.classify([image.path.read_bytes() for image in images])
    assert all(isinstance(answer, Prediction) for answer in answers)


def test_metrics_have_every_figure_with_its_interval_and_come_from_unseen_images_alone(trained, folders):
    metrics = json.loads((trained / "evaluation" / "metrics.json").read_text())
    unseen = [key for key, side in read_splits(trained / "bundle" / "splits.csv").items() if side == VALIDATION]
    assert metrics["all"]["n"] == len(unseen) == metrics["derm"]["n"] + metrics["phone"]["n"]
    for values in metrics.values():
        for name in (*DESIGNED, "set_coverage", "set_size", "triage_sensitivity", "triage_specificity"):
            low, high = values[f"{name}_ci"]
            assert low <= values[name] <= high
        assert {"referred", "rejected", "per_class"} <= values.keys()


def test_pictures_and_card_are_there_and_the_card_agrees_with_the_metrics(trained):
    bundle = trained / "bundle"
    for name in ("curves", "confusion-derm", "confusion-all", "reliability-phone"):
        assert (bundle / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (bundle / "MODEL_CARD.md").read_text() == regenerated(bundle)


def test_a_finished_run_is_not_trained_again_and_yields_the_same_network(trained, folders, capsys):
    before = json.loads((trained / "bundle" / "manifest.json").read_text())
    arguments = ["train", "--data", *map(str, folders), "--weights", "none", "--tiny", "--out", str(trained)]
    assert main(arguments) == 0
    after = json.loads((trained / "bundle" / "manifest.json").read_text())
    assert after["network"]["sha256"] == before["network"]["sha256"]
    assert after["version"] == before["version"]
    assert "epoch 1 of" not in capsys.readouterr().err


def test_training_goes_on_from_a_bundle_with_its_history_and_its_splits(trained, folders, tmp_path):
    """As after the run's folder is lost: the bundle is enough."""
    arguments = ["train", "--data", *map(str, folders), "--weights", "none", "--tiny", "--out", str(tmp_path)]
    start = ["--start", str(trained / "bundle"), "--last", "1", "--robustness", "0", "--explained", "0"]
    assert main([*arguments, *start]) == 0
    before, after = (json.loads((o / "bundle" / "manifest.json").read_text())["training"] for o in (trained, tmp_path))
    assert after["history"][: len(before["history"])] == before["history"]
    assert {epoch["phase"] for epoch in after["history"][len(before["history"]) :]} == {TINY.phases[-1].name}
    assert after["seconds"] > before["seconds"]
    assert read_splits(tmp_path / "bundle" / "splits.csv") == read_splits(trained / "bundle" / "splits.csv")
    first = after["history"][len(before["history"])]
    assert first["score"] > max(epoch["score"] for epoch in before["history"]) - 0.1  # it did not begin anew


def test_a_folder_of_another_run_is_left_alone(trained, folders, capsys):
    """Its weights have learned from images that another seed holds out."""
    arguments = ["train", "--data", *map(str, folders), "--weights", "none", "--tiny", "--out", str(trained)]
    assert main([*arguments, "--seed", "2"]) == 1
    assert "holds a run with other images" not in (told := capsys.readouterr().err)
    assert "holds a run with other seed: give another OUT, or delete it." in told


def test_a_bundle_does_not_go_on_with_images_that_change_its_splits(trained, folders, tmp_path, capsys):
    more = write_labelled_folder(tmp_path / "clinic", ("mel", "nv"), 40, seed=7000)
    arguments = ["train", "--data", *map(str, folders), str(more), "--weights", "none", "--tiny"]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--start", str(trained / "bundle")]) == 1
    assert "would be taken for unseen" in capsys.readouterr().err
    assert not (tmp_path / "out" / "bundle" / "splits.csv").exists()


class Sure:
    """Stands for a network: tells every image of class k by its one pixel."""

    def predict_on_batch(self, pixels):
        return 3.0 * np.eye(8)[pixels.ravel().astype(int)]


def test_a_folder_of_one_class_is_judged_by_what_it_can_show():
    """Melanomas from elsewhere, say, added to what tells the classes apart: they have no area under a curve."""
    truth, sources = np.array([0, 1, 0, 1, 1, 1]), np.array(["derm"] * 4 + ["melanomas"] * 2)
    seen = judge(lambda: iter([truth.astype(np.float32)]), truth, sources)(Sure())
    assert seen == {"score": 1.0, "derm AUC": 1.0, "derm balanced": 1.0, "melanomas balanced": 1.0}
    own = figures(np.eye(8)[truth[4:]], truth[4:])
    assert own["macro_auc"] is None
    assert row("a name", "c", 1, 2.0, {"calibration": {"melanomas": own}})["calibration melanomas macro_auc"] == ""
    with pytest.raises(TrainingError, match="of one class alone"):
        judge(lambda: iter([]), truth[4:], sources[4:])


def test_evaluate_takes_other_peoples_images_and_reports_rejected_ones(trained, tmp_path):
    others = write_labelled_folder(tmp_path / "clinic", ("mel", "nv"), 12, seed=5000)
    (others / "images" / "i5.jpg").write_bytes(b"no longer an image")
    out = tmp_path / "out"
    bundle = str(trained / "bundle")
    assert main(["evaluate", "--data", str(others), "--bundle", bundle, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["clinic"]["n"] == 12
    assert metrics["clinic"]["rejected"] == pytest.approx(1 / 12)
    assert "i5,mel,rejected,not_an_image" in (out / "predictions.csv").read_text()


def test_parity_with_keras_is_measured_and_close(trained):
    parity = json.loads((trained / "bundle" / "manifest.json").read_text())["training"]["parity_with_keras"]
    assert parity["same_label"] >= 0.9
    assert 0 < parity["largest_probability_change"] < 0.2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--weights", "none"], "learns nothing"),
        (["--weights", "nowhere.h5"], "nowhere.h5"),
        (["--weights", "none", "--tiny", "--last", "2"], "after --start, which is missing"),
        (["--weights", "none", "--tiny", "--backbone", "MobileNetV2", "--start", "x"], "not those of MobileNetV2"),
        (["--weights", "none", "--tiny", "--start", "nowhere"], "nowhere is no bundle that a training run made"),
        (["--weights", "none", "--tiny", "--seed", "7", "--start", "models/vgg16-skin"], "Give --seed 20261123."),
    ],
)
def test_wrong_options_are_one_sentence(folders, tmp_path, capsys, arguments, sentence):
    assert main(["train", "--data", str(folders[0]), *arguments, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("train: ")
    assert sentence in error
    assert not (tmp_path / "run.json").exists()  # the mended command may use the folder


def test_augmentation_changes_views_and_its_switch_turns_it_off():
    rng = np.random.default_rng(0)
    square = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    seen = [augmented(square, 48, rng, 1.0) for _ in range(4)]
    assert all(view.shape == (48, 48, 3) for view in seen)
    assert all(np.abs(view.astype(float) - square[8:56, 8:56]).mean() > 5 for view in seen)
    assert np.array_equal(augmented(square, 48, rng, 0.0), square[8:56, 8:56])
    assert replace(TINY, augmentation=0.0).as_json()["augmentation"] == 0


def test_a_view_shows_its_image_turned_and_zoomed_and_nothing_else():
    square = np.full((64, 64, 3), 120, np.uint8)
    square[24:40, 24:40] = (200, 40, 40)  # a red lesion in the middle
    reds = []
    for seed in range(40):
        view = augmented(square, 64, np.random.default_rng(seed), 1.0).astype(int)
        reds.append(int(np.sum(view[..., 0] - view[..., 1] > 60)))
    assert min(reds) > 0.6 * 16 * 16  # it never leaves the view ...
    assert max(reds) < 2.0 * 16 * 16  # ... and is never shown twice by the reflection at the edges
    assert max(reds) / min(reds) > 1.5  # and it is shown larger and smaller


def test_batches_are_the_same_for_the_same_step_however_they_are_asked_for():
    squares = np.random.default_rng(1).integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)
    images = [LabelledImage("a", str(i), Path(), i % 3, str(i), ()) for i in range(20)]

    def views():
        return Views(
            squares, images, np.arange(20), size=24, trunk=None, class_power=0.5, source_share=0.3, batch=4,
            strength=1.0, seed=5,
        )  # fmt: skip

    in_order = views()
    kept = [in_order.at(step) for step in range(7)]
    resumed = views().at(6)
    assert np.array_equal(kept[6][0], resumed[0])
    assert np.array_equal(kept[6][1], resumed[1])
    assert not np.array_equal(kept[0][0], kept[5][0])
