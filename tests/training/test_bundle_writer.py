"""A bundle's version names its content: all that an answer depends on, and nothing else."""

from __future__ import annotations

import json

import pytest
from tiny_bundle import write_tiny_bundle

from model_layer import Classifier
from model_layer.known_answer import departure
from training.config import Config
from training.data.dataset import LABELS
from training.fit.bundle_writer import NETWORK_FILE, add_known_answer, add_quality, write_manifest


def content(
    folder, network: bytes = b"network", temperature: float = 1.5, confidence: float = 0.6, of_a_kind=1.0, seconds=1.0
):
    """The part of a version that names the content, not the day."""
    folder.mkdir(exist_ok=True)
    (folder / NETWORK_FILE).write_bytes(network)
    manifest = write_manifest(
        folder,
        labels=LABELS,
        config=Config(),
        decisive={
            "calibration": {"temperature": temperature},
            "thresholds": {"confidence": {"value": confidence, "target": "any"}},
            "kinds": {"clinical": {"calibration": {"temperature": of_a_kind}}},
        },
        training={"seconds": seconds},
    )
    return manifest["version"].rpartition("-")[2]


@pytest.mark.parametrize(
    "change", [{"network": b"other"}, {"temperature": 1.6}, {"confidence": 0.61}, {"of_a_kind": 2.0}]
)
def test_whatever_changes_an_answer_changes_the_version(tmp_path, change):
    assert content(tmp_path) != content(tmp_path, **change)


def test_how_it_came_about_does_not(tmp_path):
    assert content(tmp_path) == content(tmp_path, seconds=2)


def test_limits_of_image_quality_do(tmp_path):
    before = content(tmp_path)
    after = add_quality(tmp_path, {"blur": {"value": 3.0, "target": "any"}})["version"]
    assert after.rpartition("-")[2] != before


def test_the_answer_to_the_known_image_is_stated_and_changes_no_version(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "bundle")
    before = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(before | {"training": {}}))
    stated = add_known_answer(bundle)
    classifier = Classifier.load(bundle)
    assert (stated["version"], list(stated)[-1]) == (before["version"], "training")
    assert classifier.bundle.known_answer == stated["known_answer"]["probabilities"]
    assert departure(classifier) is None
