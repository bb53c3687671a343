"""The whole way with a tiny VGG and real training: images in, a bundle out that the worker's classifier serves."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from labelled_folders import write_labelled_folder

from model_layer import BATCH, Bundle, Classifier, Prediction
from model_layer.known_answer import departure
from training.__main__ import main
from training.data.dataset import LABELS, read_folders
from training.data.splits import VALIDATION, read_splits
from training.evaluation.metrics import HEADLINES, logit_figures
from training.report.configurations import row
from training.report.model_card import regenerated

if TYPE_CHECKING:
    from pathlib import Path

needs_tensorflow = pytest.mark.training
VIEWS = ("400", "240")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return [
        write_labelled_folder(root / "derm", ("nv", "nv", "mel", "bkl"), 160, seed=0),
        write_labelled_folder(root / "phone", ("nv", "bcc"), 60, seed=1000),
    ]


def train(folders, out, *options: str) -> int:
    data = [*map(str, folders)]
    smallest = ["--tiny", "--views", *VIEWS, "--robustness", "1", "--explained", "2"]
    return main(["train", "--data", *data, "--weights", "none", "--out", str(out), *smallest, *options])


@pytest.fixture(scope="module")
def trained(folders, tmp_path_factory):
    """OUT of `make train`: both stages, export, operating points of two kinds, limits of quality, evaluation, card."""
    out = tmp_path_factory.mktemp("train")
    assert train(folders, out, "--lesions", "1") == 0
    return out


def test_training_leaves_a_bundle_that_serves_better_than_chance(trained, folders):
    classifier = Classifier.load(trained / "bundle")
    metrics = json.loads((trained / "bundle" / "metrics.json").read_text())
    assert set(metrics) == {"derm", "phone", "all"}
    assert metrics["derm"]["balanced_accuracy"] > 0.5  # three classes told apart by colour; chance is 0.33
    images = read_folders(folders)[:BATCH]
    answers = classifier.classify([image.path.read_bytes() for image in images])
    assert all(isinstance(answer, Prediction) for answer in answers)


def test_metrics_have_every_figure_with_its_interval_and_come_only_from_unseen_images(trained):
    metrics = json.loads((trained / "evaluation" / "metrics.json").read_text())
    unseen = [key for key, side in read_splits(trained / "bundle" / "splits.csv").items() if side == VALIDATION]
    assert metrics["all"]["n"] == len(unseen) == metrics["derm"]["n"] + metrics["phone"]["n"]
    for values in metrics.values():
        for name in HEADLINES:
            if name == "accuracy_of_classified" and values["referred"] == 1:
                assert values[name] is values[f"{name}_ci"] is None
                continue
            low, high = values[f"{name}_ci"]
            assert low <= values[name] <= high
        assert {"referred", "rejected", "per_class"} <= values.keys()


def test_pictures_and_card_are_there_and_the_card_agrees_with_the_metrics(trained):
    bundle = trained / "bundle"
    for name in ("curves", "confusion-derm", "confusion-all", "reliability-phone", "quality"):
        assert (bundle / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (bundle / "MODEL_CARD.md").read_text() == regenerated(bundle)


def test_each_kind_of_image_is_judged_by_its_own_thresholds(trained, folders):
    manifest = json.loads((trained / "bundle" / "manifest.json").read_text())
    assert list(manifest["kinds"]) == ["derm", "phone"]
    assert set(manifest["training"]["kinds_mistaken"]) == {"derm", "phone"}
    bundle = Bundle.read(trained / "bundle")
    assert bundle.point("phone").temperature == manifest["kinds"]["phone"]["calibration"]["temperature"]
    images = read_folders(folders)
    answers = Classifier.load(trained / "bundle").classify([image.path.read_bytes() for image in images])
    assert np.mean([answer.kind == image.kind for answer, image in zip(answers, images, strict=True)]) > 0.5


def test_parity_with_keras_is_measured_and_close(trained):
    parity = json.loads((trained / "bundle" / "manifest.json").read_text())["training"]["parity_with_keras"]
    assert parity["same_label"] >= 0.9
    assert 0 < parity["largest_probability_change"] < 0.2


def test_status_shows_the_progress_of_the_run_in_a_folder(trained, tmp_path, capsys):
    assert main(["status", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert "640 of 640 views" in shown
    assert "derm AUC" in shown
    assert main(["status", str(tmp_path)]) == 1
    assert "no training run" in capsys.readouterr().err


@needs_tensorflow
def test_a_finished_run_is_not_trained_again_and_yields_the_same_network(trained, folders, capsys):
    before = json.loads((trained / "bundle" / "manifest.json").read_text())
    assert train(folders, trained, "--lesions", "1", "--robustness", "0", "--explained", "0") == 0
    after = json.loads((trained / "bundle" / "manifest.json").read_text())
    assert after["network"]["sha256"] == before["network"]["sha256"]
    assert after["version"] == before["version"]
    assert "small views" not in capsys.readouterr().err


@needs_tensorflow
def test_a_folder_of_another_run_is_left_alone(trained, folders, capsys):
    """Its weights have learned from images that another seed holds out."""
    assert train(folders, trained, "--seed", "2") == 1
    assert "holds a run with other images" not in (shown := capsys.readouterr().err)
    assert "holds a run with other seed: give another OUT, or delete it." in shown


@needs_tensorflow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--weights", "none"], "learns nothing"),
        (["--weights", "nowhere.h5"], "nowhere.h5"),
        (["--weights", "none", "--tiny", "--views", "640"], "2 stages, but --views has 1 numbers"),
    ],
)
def test_wrong_options_are_one_sentence(folders, tmp_path, capsys, arguments, sentence):
    assert main(["train", "--data", str(folders[0]), *arguments, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("train: ")
    assert sentence in error
    assert not (tmp_path / "run.json").exists()  # the corrected command may use the folder


class Sure:
    """Stands in for a network: knows every image of class k by its one pixel."""

    def predict_on_batch(self, pixels):
        return 3.0 * np.eye(8)[pixels.ravel().astype(int)]


@needs_tensorflow
def test_a_folder_of_one_class_is_judged_by_what_it_can_show():
    """Melanomas from elsewhere, say, added to data of several classes: they have no area under a curve."""
    from training.fit.judge import judge

    truth, sources = np.array([0, 1, 0, 1, 1, 1]), np.array(["derm"] * 4 + ["melanomas"] * 2)
    squares = truth.astype(np.uint8)[:, None, None, None]
    seen = judge(squares, np.arange(6), truth, sources)(Sure())
    assert seen == {"derm AUC": 1.0, "derm balanced": 1.0, "melanomas balanced": 1.0}
    own = logit_figures(np.eye(8)[truth[4:]], truth[4:])
    assert own["macro_auc"] is None
    assert row("a name", "c", 1, 2.0, {"calibration": {"melanomas": own}})["calibration melanomas macro_auc"] == ""


def always_the_first_label(bundle: Path) -> Path:
    network = onnx.load(bundle / "model.onnx")
    last = next(node for node in network.graph.node if "class_maps" in node.name and node.op_type == "Conv")
    bias = next(tensor for tensor in network.graph.initializer if tensor.name == last.input[2])
    values = onnx.numpy_helper.to_array(bias) + 100 * np.eye(len(LABELS), dtype=np.float32)[0]
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(network, bundle / "model.onnx")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["network"]["sha256"] = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@needs_tensorflow
@pytest.mark.slow
def test_a_run_starts_from_a_wider_one_that_is_pruned(folders, tmp_path, capsys):
    from training.network.pruning import LAYERS

    wide, slim = tmp_path / "wide", tmp_path / "slim"
    short = ["--lesions", "0", "--robustness", "0", "--explained", "0", "--views", "320", "80"]
    assert train(folders, wide, *short, "--channels", "0.125") == 0
    assert train(folders, slim, *short, "--start", str(wide)) == 0
    manifests = [json.loads((run / "bundle" / "manifest.json").read_text())["training"] for run in (wide, slim)]
    assert [manifest["configuration"]["channels"][0] for manifest in manifests] == [8, 4]
    assert set(manifests[1]["pruning_errors"]) == set(LAYERS)
    assert manifests[1]["command"].endswith("--start wide'")
    # Its head is the wide network's, so it knows much before it has learned anything.
    first, started = (
        json.loads((run / "checkpoints" / "state.json").read_text())["history"][0] for run in (wide, slim)
    )
    assert started["loss"] < first["loss"]

    assert train(folders, tmp_path / "wider", *short, "--channels", "0.25", "--start", str(wide)) == 1
    assert "fewer channels; start from a wider one" in capsys.readouterr().err
    assert train(folders, slim, *short) == 1
    assert "holds a run with other start" in capsys.readouterr().err


def test_bundles_are_compared_on_calibration_images_with_their_mean_and_mirror(trained, folders, tmp_path, capsys):
    with (trained / "bundle" / "splits.csv").open() as stream:
        held = sum(row["split"] == "calibration" for row in csv.DictReader(stream))
    worse = always_the_first_label(shutil.copytree(trained / "bundle", tmp_path / "worse"))
    good = str(trained / "bundle")
    command = ["compare", "--data", *map(str, folders), "--bundles", good, str(worse), "--out", str(tmp_path / "out")]
    assert main([*command, "--mirrored"]) == 0
    with (tmp_path / "out" / "comparison.csv").open() as stream:
        rows = {row["networks"]: row for row in csv.DictReader(stream)}
    assert list(rows) == [
        good, str(worse), f"{good} + {worse}", f"{good} with the mirror image", f"{worse} with the mirror image",
    ]  # fmt: skip
    assert {int(row["images"]) for row in rows.values()} == {held}
    assert float(rows[good]["gain"]) == float(rows[good]["gain_high"]) == 0
    assert float(rows[str(worse)]["gain_high"]) < 0
    assert float(rows[str(worse)]["balanced_accuracy"]) == 1 / 4  # of nv, mel, bkl and bcc


def test_bundles_of_other_splits_are_not_compared(trained, folders, tmp_path, capsys):
    other = shutil.copytree(trained / "bundle", tmp_path / "other")
    splits = (other / "splits.csv").read_text().replace("calibration", "train", 1)
    (other / "splits.csv").write_text(splits)
    command = ["compare", "--data", *map(str, folders), "--bundles", str(trained / "bundle"), str(other)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "calibration images than" in capsys.readouterr().err


def test_a_bundle_is_calibrated_again_on_a_clinics_own_images(trained, tmp_path, capsys):
    clinic = write_labelled_folder(tmp_path / "clinic", ("nv", "mel", "bkl"), 300, seed=5000)
    former, out = Bundle.read(trained / "bundle"), tmp_path / "out"
    before = (trained / "bundle" / "manifest.json").read_bytes()
    command = ["calibrate", "--data", str(clinic), "--bundle", str(trained / "bundle"), "--out", str(out)]
    assert main(command) == 0

    bundle = Bundle.read(out / "bundle")
    assert bundle.network == former.network
    assert bundle.version != former.version
    changed = {kind for kind in bundle.kinds if bundle.point(kind) != former.point(kind)}
    assert changed == {"derm"}  # what these images are taken for; there are none of the other kind
    assert (trained / "bundle" / "manifest.json").read_bytes() == before
    splits = read_splits(out / "bundle" / "splits.csv")
    own = {name: [key for key in splits if key[0] == "clinic" and splits[key] == name] for name in set(splits.values())}
    assert abs(len(own["calibration"]) - len(own["validation"])) <= 2
    assert not own.get("train")
    assert read_splits(trained / "bundle" / "splits.csv").items() <= splits.items()
    metrics = json.loads((out / "bundle" / "metrics.json").read_text())
    assert metrics["clinic"]["n"] == len(own["validation"])  # none of those that chose the thresholds
    assert metrics["clinic"]["set_coverage"] > 0.85  # 0.95 is promised; three standard errors of 75 lesions
    assert departure(Classifier.load(out / "bundle")) is None
    card = (out / "bundle" / "MODEL_CARD.md").read_text()
    assert card == regenerated(out / "bundle")
    assert "Temperature and thresholds of derm images were chosen again" in card
    assert "| clinic | 0 | 150 | 150 |" in card


def test_calibration_needs_enough_lesions(trained, tmp_path, capsys):
    few = write_labelled_folder(tmp_path / "few", ("nv", "mel"), 200, seed=6000)
    command = ["calibrate", "--data", str(few), "--bundle", str(trained / "bundle"), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "needs 120 lesions or patients of one kind of image, half of them to check" in capsys.readouterr().err
    assert not (tmp_path / "out" / "bundle").exists()


def test_a_bundle_is_not_calibrated_in_its_own_place(trained, folders, capsys):
    before = (trained / "bundle" / "manifest.json").read_bytes()
    command = ["calibrate", "--data", str(folders[0]), "--bundle", str(trained / "bundle"), "--out", str(trained)]
    assert main(command) == 1
    assert "give another OUT" in capsys.readouterr().err
    assert (trained / "bundle" / "manifest.json").read_bytes() == before


def test_shortcuts_need_a_label_that_two_collections_of_one_kind_share(trained, folders, tmp_path, capsys):
    command = ["shortcuts", "--data", *map(str, folders), "--bundle", str(trained / "bundle")]
    assert main([*command, "--out", str(tmp_path)]) == 1
    assert "in two of the folders that show one kind of image" in capsys.readouterr().err


def test_a_probe_tells_collections_apart_by_what_it_is_given_and_not_by_lesions_it_knows():
    from training.data.dataset import LabelledImage
    from training.shortcuts import told_apart

    rng = np.random.default_rng(0)
    images = [
        LabelledImage(source, "clinical", f"{source}{i}", None, 0, f"{source}{i // 4}", ())
        for source in ("here", "there")
        for i in range(80)
    ]
    from_here = np.array([[float(image.source == "here")] for image in images])
    # Every lesion has features of its own: a probe that saw three of its images would know where the fourth is from.
    of_lesion = np.repeat(rng.normal(size=(40, 8)), 4, axis=0)
    assert told_apart(np.hstack([of_lesion, 5 * from_here]), images) > 0.95
    assert told_apart(of_lesion, images) < 0.7
