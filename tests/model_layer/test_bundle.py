"""A bundle that does not fit is refused when it is loaded, in one sentence."""

from __future__ import annotations

import json

import pytest
from tiny_bundle import write_tiny_bundle

from model_layer import BundleError, Classifier


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_bundle(tmp_path / "bundle")


def edit(bundle, change):
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def refusal(bundle) -> str:
    with pytest.raises(BundleError) as caught:
        Classifier.load(bundle)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_good_bundle_loads(bundle):
    loaded = Classifier.load(bundle).bundle
    assert loaded.name == "tiny"
    assert loaded.digest.startswith("sha256:")
    assert [label.code for label in loaded.labels][:2] == ["nv", "mel"]


def test_one_flipped_bit_of_the_network_is_noticed(bundle):
    network = bytearray((bundle / "model.onnx").read_bytes())
    network[len(network) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(network)
    assert "changed or damaged" in refusal(bundle)


def test_missing_files_are_named(bundle, tmp_path):
    assert "nowhere" in refusal(tmp_path / "nowhere")
    (bundle / "model.onnx").unlink()
    assert "model.onnx" in refusal(bundle)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.pop("labels"), "labels"),
        (lambda m: m.update(schema=2), "schema 1"),
        (lambda m: m.update(version="1#2"), "without #"),
        (lambda m: m.update(version=""), "1 to 100"),
        (lambda m: m.update(version="1" * 101), "1 to 100"),
        (lambda m: m.update(version="1\n2"), "printable"),
        (lambda m: m["labels"].pop(), "7 labels"),
        (lambda m: m["labels"].__setitem__(1, m["labels"][0]), "distinct"),
        (lambda m: m["input"].update(size=64), "64 x 64"),
        (lambda m: m["calibration"].update(temperature=0), "temperature"),
        (lambda m: m["calibration"].update(temperature=float("nan")), "temperature"),
        (lambda m: m["thresholds"]["confidence"].update(value=1.2), "confidence"),
        (lambda m: m["thresholds"].update(confidence={"labels": {"nv": 0.5}}), "lacks 'mel'"),
        (lambda m: m["thresholds"]["malignant"].update(value="high"), "wrong kind"),
    ],
)
def test_what_does_not_fit_is_named(bundle, change, named):
    edit(bundle, change)
    assert named in refusal(bundle)


def test_manifest_that_is_no_json(bundle):
    (bundle / "manifest.json").write_text("{")
    assert "JSON" in refusal(bundle)


def test_network_that_is_no_network(bundle):
    import hashlib

    (bundle / "model.onnx").write_bytes(b"no network")
    edit(bundle, lambda m: m["network"].update(sha256=hashlib.sha256(b"no network").hexdigest()))
    assert "cannot be parsed" in refusal(bundle)
