"""The whole way with a tiny VGG and real training: images in, a bundle out that the worker's classifier serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import write_labelled_folder

from model_layer import BATCH, Bundle, Classifier, Prediction
from training.__main__ import main
from training.augmentation import augmented, shades_of_grey
from training.batches import Views
from training.config import TINY, Stage
from training.configurations import figures, row
from training.dataset import LabelledImage, read_folders
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
    assert "small views" not in capsys.readouterr().err


def test_a_folder_of_another_run_is_left_alone(trained, folders, capsys):
    """Its weights have learned from images that another seed holds out."""
    arguments = ["train", "--data", *map(str, folders), "--weights", "none", "--tiny", "--out", str(trained)]
    assert main([*arguments, "--seed", "2"]) == 1
    assert "holds a run with other images" not in (told := capsys.readouterr().err)
    assert "holds a run with other seed: give another OUT, or delete it." in told


class Sure:
    """Takes the place of a network: tells every image of class k by its one pixel."""

    def predict_on_batch(self, pixels):
        return 3.0 * np.eye(8)[pixels.ravel().astype(int)]


def test_a_folder_of_one_class_is_judged_by_what_it_can_show():
    """Melanomas from elsewhere, say, added to what tells the classes apart: they have no area under a curve."""
    truth, sources = np.array([0, 1, 0, 1, 1, 1]), np.array(["derm"] * 4 + ["melanomas"] * 2)
    squares = truth.astype(np.uint8)[:, None, None, None]
    seen = judge(squares, np.arange(6), truth, sources)(Sure())
    assert seen == {"derm AUC": 1.0, "derm balanced": 1.0, "melanomas balanced": 1.0}
    own = figures(np.eye(8)[truth[4:]], truth[4:])
    assert own["macro_auc"] is None
    assert row("a name", "c", 1, 2.0, {"calibration": {"melanomas": own}})["calibration melanomas macro_auc"] == ""


def test_each_kind_of_image_is_judged_by_its_own_thresholds(trained, folders):
    manifest = json.loads((trained / "bundle" / "manifest.json").read_text())
    assert list(manifest["kinds"]) == ["derm", "phone"]
    assert set(manifest["training"]["kinds_mistaken"]) == {"derm", "phone"}
    bundle = Bundle.read(trained / "bundle")
    assert bundle.point("phone").temperature == manifest["kinds"]["phone"]["calibration"]["temperature"]
    images = read_folders(folders)
    answers = Classifier.load(trained / "bundle").classify([image.path.read_bytes() for image in images])
    assert np.mean([answer.kind == image.kind for answer, image in zip(answers, images, strict=True)]) > 0.5


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
        (["--weights", "none", "--tiny", "--views", "640"], "2 stages, and --views gives 1 numbers"),
    ],
)
def test_wrong_options_are_one_sentence(folders, tmp_path, capsys, arguments, sentence):
    assert main(["train", "--data", str(folders[0]), *arguments, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("train: ")
    assert sentence in error
    assert not (tmp_path / "run.json").exists()  # the mended command may use the folder


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


def test_the_status_of_a_run_is_told_from_its_folder(trained, tmp_path, capsys):
    assert main(["status", str(trained)]) == 0
    told = capsys.readouterr().out
    assert "1,280 of 1,280 views" in told
    assert "derm AUC" in told
    assert main(["status", str(tmp_path)]) == 1
    assert "no training run" in capsys.readouterr().err
