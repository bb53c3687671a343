"""The model says when it does not stand by its label, and why, in words that tell a person what to do."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tiny_bundle import tiny_manifest, tiny_network, write_tiny_bundle

from model_layer import Bundle, BundleError, Classifier, ImageFacts, ReferralCode
from model_layer.bundle import QualityLimits
from model_layer.decision import Evidence, referral_reasons
from model_layer.quality import Quality

LIMITS = QualityLimits(side=120, brightness=40, clipped=0.3, blur=0.8, detail=10)
GOOD = Quality(brightness=150, clipped=0.01, blur=0.4, detail=60)
FACTS = ImageFacts("jpeg", 600, 450)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    read = Bundle.read(write_tiny_bundle(tmp_path_factory.mktemp("bundle")))
    return replace(read, quality=LIMITS, points=(replace(read.points[0], unlikeness=0.2),))


def codes(bundle, **changes):
    evidence = Evidence(
        **({"label": 0, "confidence": 0.9, "unlikeness": 0.1, "quality": GOOD, "facts": FACTS} | changes)
    )
    return [reason.code for reason in referral_reasons(bundle.points[0], bundle.quality, evidence)]


def test_a_good_photograph_that_is_known_and_sure_raises_no_doubt(bundle):
    assert codes(bundle) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confidence": 0.49}, "uncertain"),
        ({"unlikeness": 0.21}, "unlike_training_data"),
        ({"quality": replace(GOOD, brightness=39)}, "too_dark"),
        ({"quality": replace(GOOD, clipped=0.31)}, "overexposed"),
        ({"quality": replace(GOOD, blur=0.81)}, "blurred"),
        ({"quality": replace(GOOD, detail=9)}, "no_lesion_in_view"),
        ({"facts": ImageFacts("png", 4000, 119)}, "low_resolution"),
    ],
)
def test_each_doubt_has_its_reason_and_a_sentence(bundle, changes, code):
    assert codes(bundle, **changes) == [code]
    assert ReferralCode(code).sentence.endswith(".")


def test_all_reasons_are_given_what_can_be_mended_first(bundle):
    everything = {"confidence": 0.1, "unlikeness": 0.9, "quality": Quality(1, 0.9, 0.95, 1)}
    found = codes(bundle, **everything, facts=ImageFacts("png", 60, 60))
    assert found == list(ReferralCode)


def test_each_label_has_its_own_threshold(tmp_path):
    folder = write_tiny_bundle(tmp_path / "b")
    manifest = json.loads((folder / "manifest.json").read_text())
    first, second, *rest = (label["code"] for label in manifest["labels"])
    own = {first: 0.6, second: None} | dict.fromkeys(rest, 0.0)
    manifest["thresholds"]["confidence"] = {"labels": own, "target": "any"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    bundle = Bundle.read(folder)
    assert codes(bundle, label=0, confidence=0.6) == []
    assert codes(bundle, label=0, confidence=0.59) == ["uncertain"]
    assert codes(bundle, label=1, confidence=1.0) == ["uncertain"]
    assert codes(bundle, label=2, confidence=0.01) == []


def test_a_bundle_that_does_not_judge_photographs_raises_no_doubt_about_them(bundle):
    old = replace(bundle, quality=None, points=(replace(bundle.points[0], unlikeness=None),))
    assert codes(old, unlikeness=None, quality=None) == []
    assert codes(old, unlikeness=None, quality=None, confidence=0.1) == ["uncertain"]


@given(st.floats(0, 1), st.floats(0, 2))
def test_more_confidence_and_less_unlikeness_never_add_a_doubt(bundle, confidence, unlikeness):
    some = set(codes(bundle, confidence=confidence, unlikeness=unlikeness))
    assert set(codes(bundle, confidence=min(1, confidence + 0.1), unlikeness=unlikeness / 2)) <= some


def test_the_manifests_limits_reach_the_answer(tmp_path):
    network = tiny_network()
    manifest = tiny_manifest(network, confidence=0.0)
    manifest["quality"] = {"brightness": {"value": 255}}  # nothing is bright enough; nothing else is judged
    (tmp_path / "model.onnx").write_bytes(network)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    (answer,) = Classifier.load(tmp_path).classify([_png(pixels)])
    assert answer.status == "referred"
    assert [reason.code for reason in answer.reasons] == ["too_dark"]
    assert answer.label
    assert answer.probabilities


def test_a_limit_of_what_the_network_does_not_give_is_refused(tmp_path):
    network = tiny_network()
    manifest = tiny_manifest(network)
    manifest["thresholds"]["unlikeness"] = {"value": 0.2, "target": "none, a test"}
    (tmp_path / "model.onnx").write_bytes(network)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="unlikeness"):
        Classifier.load(tmp_path)


def with_kinds(network: bytes) -> bytes:
    """The tiny network with an output `kind`: bright pictures are of the second kind."""
    model = onnx.load_from_string(network)
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["pixels"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["levels", "all_axes"], ["brightness"], keepdims=0),
            helper.make_node("Unsqueeze", ["brightness", "last"], ["column"]),
            helper.make_node("Sub", ["two_fifty_five", "column"], ["darkness"]),
            helper.make_node("Concat", ["darkness", "column"], ["kind"], axis=1),
        ]
    )
    constants = {"all_axes": np.array([1, 2, 3]), "last": np.array([1]), "two_fifty_five": np.float32(255)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    model.graph.output.append(helper.make_tensor_value_info("kind", TensorProto.FLOAT, ["n", 2]))
    return model.SerializeToString()


def test_each_kind_of_image_has_its_own_operating_point(tmp_path):
    network = with_kinds(tiny_network())
    manifest = tiny_manifest(network, confidence=0.0)
    strict = json.loads(json.dumps({name: manifest[name] for name in ("calibration", "thresholds")}))
    strict["calibration"]["temperature"] = 100.0
    strict["thresholds"]["confidence"]["value"] = 1.0
    manifest["kinds"] = {"dark": {name: manifest[name] for name in ("calibration", "thresholds")}, "bright": strict}
    (tmp_path / "model.onnx").write_bytes(network)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    pixels = np.random.default_rng(0).integers(0, 90, (64, 64, 3)).astype(np.uint8)
    dark, bright = Classifier.load(tmp_path).classify([_png(pixels), _png(pixels + 150)])
    assert (dark.kind, dark.status) == ("dark", "classified")
    assert (bright.kind, bright.status) == ("bright", "referred")
    assert bright.confidence < 0.2 < dark.confidence  # at a temperature of 100 all labels are nearly alike

    manifest["kinds"]["third"] = strict
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="kinds dark, bright, third, which its network does not tell apart"):
        Classifier.load(tmp_path)


def _png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
