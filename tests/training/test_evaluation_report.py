"""`evaluate` and `quality` from the command line on a tiny bundle: each table and plot, and a card that quotes them."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from labelled_folders import write_labelled_folder
from PIL import Image

from model_layer.bundle import Bundle, QualityLimits
from training.__main__ import main
from training.data.data_sets import licence
from training.data.made_up import KINDS
from training.errors import TrainingError
from training.evaluation.quality_study import FALL, FLAGGED, SERIES, Step, threshold
from training.quality import target
from training.report.card_sections import sections, tables_and_plots
from training.report.model_card import QUOTED, complete_bundle, model_card


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return [
        write_labelled_folder(root / "derm", ("nv", "nv", "mel", "bkl"), 140, seed=0),
        write_labelled_folder(root / "phone", ("nv", "bcc"), 40, seed=1000),
    ]


@pytest.fixture(scope="module")
def report(folders, tiny_bundle, tmp_path_factory):
    """OUT of `make evaluate`."""
    out = tmp_path_factory.mktemp("evaluation")
    arguments = ["--data", *map(str, folders), "--bundle", str(tiny_bundle), "--out", str(out)]
    assert main(["evaluate", *arguments, "--robustness", "5", "--explained", "10"]) == 0
    return out


def rows(file) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_table_agrees_with_the_metrics(report):
    metrics = json.loads((report / "metrics.json").read_text())
    assert set(metrics) == {"derm", "phone", "all"}
    for row in rows(report / "subgroups.csv"):
        own = metrics[row["data"]]["subgroups"][row["attribute"]][row["group"]]
        assert int(row["lesions"]) == own["lesions"]
        assert row["accuracy"] == ("" if own["accuracy"] is None else f"{own['accuracy']:.4f}")
        assert bool(row["accuracy"]) == (own["lesions"] >= 30)
        assert row["note"] == own["note"]
    for row in rows(report / "robustness.csv"):
        own = metrics[row["data"]]["robustness"]["changes"][row["change"]]
        assert float(row["balanced_accuracy"]) == pytest.approx(own["balanced_accuracy"], abs=1e-4)
        assert float(row["difference"]) == pytest.approx(own["difference"], abs=1e-4)
    for row in rows(report / "calibration.csv"):
        own = metrics[row["data"]]["calibration"]
        kind = row["temperature_scaling"].replace("true confidences", "by_chance")
        assert float(row["ece"]) == pytest.approx(own[f"ece_{kind}"], abs=1e-4)
    for row in rows(report / "explanation.csv"):
        if row["figure"] in ("hottest_matters_more", "control"):
            own = metrics[row["data"]]["explanation"]
            assert float(row["value"]) == pytest.approx(own[row["figure"]], abs=1e-4)
    assert {row["data"] for row in rows(report / "prediction_sets.csv")} == set(metrics)


def test_the_new_figures_agree_with_the_headlines(report):
    """Worked out in another way by another module, so neither can drift off alone."""
    for values in json.loads((report / "metrics.json").read_text()).values():
        assert values["calibration"]["ece_after"] == pytest.approx(values["ece"])
        assert values["prediction_sets"]["overall"]["coverage"] == pytest.approx(values["set_coverage"])
        assert values["prediction_sets"]["overall"]["size"] == pytest.approx(values["set_size"])
        points = values["risk_coverage"]["at_coverage"]
        assert points["0.8"]["accuracy"] == pytest.approx(values["accuracy_at_80_coverage"])
        assert points["1.0"]["accuracy"] == pytest.approx(values["accuracy"])


def test_the_accuracy_of_what_is_classified_is_that_of_the_rows_with_this_status(report):
    metrics, answered = json.loads((report / "metrics.json").read_text()), rows(report / "predictions.csv")
    for data, values in metrics.items():
        classified = [row for row in answered if row["status"] == "classified" and data in ("all", row["source"])]
        right = [row["label"] == row["truth"] for row in classified]
        expected = pytest.approx(sum(right) / len(right)) if right else None
        assert values["accuracy_of_classified"] == expected


def test_the_kinds_of_image_are_checked_apart_and_as_many_as_asked_for(report):
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["derm"]["robustness"]["images"] == 15  # of three classes
    assert metrics["phone"]["robustness"]["images"] == 10
    assert "robustness" not in metrics["all"]
    assert "subgroups" not in metrics["all"]
    assert [metrics[name]["explanation"]["images"] for name in ("derm", "phone", "all")] == [10, 10, 20]
    unchanged = metrics["derm"]["robustness"]["changes"]["as they are"]
    assert (unchanged["difference"], unchanged["same_label"]) == (0, 1)


def test_every_plot_is_there(report):
    expected = tables_and_plots(json.loads((report / "metrics.json").read_text()))
    assert len(expected) == 15
    for name in expected:
        assert (report / name).stat().st_size > 0, name
    for name in ("reliability-derm", "confusion-all", "overlays-derm", "overlays-phone"):
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_overlays_show_photographs_beside_their_maps(report, folders):
    with Image.open(report / "overlays-derm.png") as sheet:
        cell = np.asarray(sheet.convert("RGB"))[18:178]
    plain, mapped = cell[:, :160].astype(float), cell[:, 160:320].astype(float)
    assert np.abs(plain - mapped).mean() > 5
    saturation = np.ptp(mapped, axis=2)
    assert saturation.max() > 80, "strong evidence has a strong colour"
    assert saturation.min() < saturation.max() / 2, "weak evidence is greyer"


def trained_manifest(bundle, **training):
    """As of a trained bundle."""
    parity = ("images", "same_label", "largest_probability_change")
    parity += tuple(
        f"{kind}_{side}" for kind in ("balanced_accuracy", "calibration_error") for side in ("keras", "shipped")
    )
    past = {
        "licence": "none",
        "command": "make train",
        "commit": "0",
        "backend": "none",
        "precision": "float32",
        "data": {},
        "calibration_split": {},
        "configuration": {"augmentation": 1.0},
        "parity_with_keras": dict.fromkeys((*parity, "balanced_accuracy_change"), 1.0)
        | {"balanced_accuracy_change_ci": [0.0, 1.0]},
    }
    return json.loads((bundle / "manifest.json").read_text()) | {"training": past | training}


def test_a_bundle_keeps_what_its_card_quotes_and_no_photograph(report, tiny_bundle, tmp_path):
    bundle, evaluation = tmp_path / "bundle", tmp_path / "evaluation"
    bundle.mkdir()
    shutil.copytree(report, evaluation)
    (evaluation / "curves.png").write_bytes(b"")  # of a training, which there was none of
    metrics = json.loads((report / "metrics.json").read_text())
    manifest = trained_manifest(tiny_bundle)
    complete_bundle(bundle, evaluation, manifest, metrics)
    kept = {file.name for file in bundle.iterdir()}
    assert {*QUOTED, "subgroups.csv", "robustness-derm.png", "explanation.png", "MODEL_CARD.md"} <= kept
    assert not [name for name in kept if "overlay" in name or name == "predictions.csv"]
    card = (bundle / "MODEL_CARD.md").read_text()
    female = metrics["derm"]["subgroups"]["sex"]["female"]
    assert f"| derm | sex | female | {female['lesions']} | {female['accuracy']:.3f} (" in card
    assert "Groups with fewer than 30 lesions" in card
    for quoted in ("risk_coverage.csv", "prediction_sets.csv", "subgroups.csv", "robustness.csv"):
        assert quoted in card
        assert quoted in kept


def test_an_evaluation_of_another_bundle_is_refused(report, tiny_bundle, tmp_path):
    """Its figures would stand under a version that they are not of."""
    metrics = json.loads((report / "metrics.json").read_text())
    manifest = trained_manifest(tiny_bundle) | {"version": "2020.01.01-00000000"}
    with pytest.raises(
        TrainingError, match=r"is of the bundle \S+, and \S+ is 2020\.01\.01-00000000: evaluate this one"
    ):
        complete_bundle(tmp_path, report, manifest, metrics)
    assert not list(tmp_path.iterdir())


def test_tables_that_an_earlier_evaluation_left_are_not_taken(report):
    metrics = json.loads((report / "metrics.json").read_text())
    for own in metrics.values():
        own.pop("robustness", None)
    assert "robustness.csv" not in tables_and_plots(metrics)
    assert "subgroups.csv" in tables_and_plots(metrics)


def test_a_card_of_ones_own_images_says_nothing_of_other_peoples(report, tiny_bundle):
    metrics = json.loads((report / "metrics.json").read_text())
    counts = {"train": 1, "calibration": 1, "validation": 1}
    own = trained_manifest(tiny_bundle, data={"derm": counts, "phone": counts}, licence=licence(["derm", "phone"]))
    card = model_card(own, metrics)
    for foreign in ("HAM10000", "Vienna", "Brazil", "ethics committees", "commercial use"):
        assert foreign not in card
    assert "Licence: that of its training images, which is not known here." in card
    published = trained_manifest(tiny_bundle, data={"ham10000": counts}, licence=licence(["ham10000", "pad_ufes"]))
    card = model_card(published, metrics)
    assert "Licence: CC BY-NC 4.0, because HAM10000 is." in card
    assert "commercial use" in card
    assert "Vienna" in card
    assert licence(["pad_ufes"]) == "CC BY 4.0"


def test_a_card_names_its_own_backbone(report, tiny_bundle):
    metrics = json.loads((report / "metrics.json").read_text())
    other = trained_manifest(tiny_bundle, configuration={"augmentation": 1.0, "backbone": "MobileNetV2"})
    assert "MobileNetV2's convolutions" in model_card(other, metrics)
    assert "VGG16" not in model_card(other, metrics)


def test_the_card_has_no_section_on_what_was_not_measured(report):
    metrics = json.loads((report / "metrics.json").read_text())
    assert len(sections(metrics)) == 5
    for values in metrics.values():
        for name in ("robustness", "explanation", "subgroups", "prediction_sets"):
            values.pop(name, None)
    assert sections(metrics) == []


def test_rejected_images_are_counted_and_slow_checks_can_be_left_out(tiny_bundle, tmp_path):
    clinic = write_labelled_folder(tmp_path / "clinic", ("mel", "nv"), 12, seed=5000)
    (clinic / "images" / "i5.jpg").write_bytes(b"no longer an image")
    out = tmp_path / "out"
    arguments = ["--data", str(clinic), "--bundle", str(tiny_bundle), "--out", str(out)]
    assert main(["evaluate", *arguments, "--robustness", "0", "--explained", "0"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["clinic"]
    assert (metrics["n"], metrics["rejected"]) == (12, pytest.approx(1 / 12))
    assert "i5,mel,rejected,not_an_image" in (out / "predictions.csv").read_text()
    assert not {"robustness", "explanation"} & metrics.keys()
    assert not (out / "robustness.csv").exists()


def test_unreadable_images_are_named_and_told_of(folders, tiny_bundle, tmp_path, capsys):
    broken = write_labelled_folder(tmp_path / "broken", ("nv", "mel"), 4, seed=3)
    for file in (broken / "images").iterdir():
        file.write_bytes(b"no image")
    arguments = ["--data", str(broken), "--bundle", str(tiny_bundle), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *arguments]) == 1
    assert "None of the images of broken could be decoded; predictions.csv says why." in capsys.readouterr().err
    assert "not_an_image" in (tmp_path / "out" / "predictions.csv").read_text()
    assert main(["quality", *arguments, "--lesions", "1"]) == 1
    assert "cannot be degraded: cannot identify image file" in capsys.readouterr().err


def test_what_is_said_of_images_without_a_lesion(folders, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("training.unlike.MADE_UP", 3)
    bundle, others, out = tmp_path / "bundle", tmp_path / "others", tmp_path / "out"
    shutil.copytree(tiny_bundle, bundle)
    splits = [
        f"{folder.name},i{i},{('train', 'calibration', 'validation', 'train')[i // 10]}"
        for folder in folders
        for i in range(40)
    ]
    (bundle / "splits.csv").write_text("\n".join(["source,image_id,split", *splits, ""]))
    others.mkdir()
    (others / "a.txt").write_text("no image")
    arguments = ["--data", *map(str, folders), "--bundle", str(bundle), "--others", str(others), "--images", "6"]
    assert main(["unlike", *arguments, "--out", str(out)]) == 0
    kinds = {row["kind"]: row for row in rows(out / "unlike.csv")}
    assert {kinds["derm"]["images"], kinds["phone"]["images"]} == {"6"}
    assert kinds["other photographs"]["rejected"] == "1.0"
    assert int(kinds["all without a lesion"]["images"]) == 3 * len(KINDS) + 1
    compared = {row["score"]: row for row in rows(out / "unlikeness_scores.csv")}
    assert {"nearest neighbours", "mahalanobis", "energy"} <= compared.keys()
    assert all(0 <= float(row["white noise"]) <= 1 for row in compared.values())


def test_images_that_a_bundle_has_not_split_are_refused_at_once(folders, tiny_bundle, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "splits.csv").write_text("source,image_id,split\nderm,i0,validation\n")
    arguments = ["--data", *map(str, folders), "--bundle", str(bundle), "--out", str(tmp_path / "out")]
    assert main(["unlike", *arguments]) == 1
    assert "has no validation images of phone: give the folders it was trained on." in capsys.readouterr().err


def test_a_wrong_count_is_one_sentence(folders, tiny_bundle, tmp_path, capsys):
    arguments = ["--data", str(folders[1]), "--bundle", str(tiny_bundle), "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(["evaluate", *arguments, "--robustness", "many"])
    assert "'many' is neither a number nor 'all'" in capsys.readouterr().err
    assert main(["quality", *arguments, "--lesions", "0"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("quality: ")


def test_the_quality_study_writes_what_it_found(folders, tiny_bundle, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"training": {}}))
    arguments = ["--data", *map(str, folders), "--bundle", str(bundle), "--out", str(tmp_path)]
    assert main(["quality", *arguments, "--lesions", "5", "--set"]) == 0
    steps = rows(tmp_path / "quality.csv")
    assert {row["measure"] for row in steps} == {own.measure for own in SERIES}
    assert all(float(row["relative"]) == 1 for row in steps if row["step"] == "undegraded")
    limits = json.loads((tmp_path / "quality_thresholds.json").read_text())
    assert set(limits) <= set(QualityLimits.__slots__)
    assert Bundle.read(bundle).quality == QualityLimits(**{name: own["value"] for name, own in limits.items()})
    assert "brightness" in limits  # of these pictures the colours are all that the tiny network goes by
    flagged = rows(tmp_path / "quality_flagged.csv")
    for measure, own in limits.items():
        assert "undegraded" in own["target"]
        shares = [float(row["beyond the threshold"]) for row in flagged if row["measure"] == measure]
        assert len(shares) == 2
        assert max(shares) <= FLAGGED + 0.02  # of 140 and 40 images a quantile is one image or two
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    dark = [float(row["measure_50"]) for row in steps if row["measure"] == "brightness"]
    assert dark == sorted(dark, reverse=True)
    assert "too dark: " in capsys.readouterr().out


def test_a_threshold_stands_where_accuracy_has_fallen_unless_good_images_lie_beyond():
    brightness = SERIES[0]
    draws = np.ones(1001)

    def step(median: float, relative: float) -> Step:
        return Step(None, draws * relative, draws * relative, np.full(10, median))

    falling = [step(150, 1.0), step(100, 0.9), step(50, 0.6), step(20, 0.2)]
    folders = np.repeat(["derm", "phone"], 1000)
    bright = np.concatenate([np.full(1000, 140.0), np.full(1000, 120.0)])
    found = threshold(brightness, falling, bright, folders)
    assert found.value == found.from_accuracy == pytest.approx(75)  # halfway from 0.9 to 0.6
    assert found.beyond(np.array([74.0, 76.0, np.nan])).tolist() == [True, False, False]
    assert f"fallen by {FALL:.0%}" in target(found)

    dark = np.concatenate([np.full(1000, 140.0), np.linspace(40, 60, 1000)])
    found = threshold(brightness, falling, dark, folders)
    assert found.value == pytest.approx(40.2, abs=0.1)
    assert found.beyond(dark)[1000:].mean() <= FLAGGED

    steady = [step(150, 1.0), step(100, 0.95), step(50, 0.9)]
    found = threshold(brightness, steady, bright, folders)
    assert found.value is None
    assert not found.beyond(np.array([0.0, 1.0])).any()
