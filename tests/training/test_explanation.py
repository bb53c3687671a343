"""The checks of the heat map pass a map that shows what counts, and fail one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from labelled_folders import write_labelled_folder
from onnx import numpy_helper
from tiny_bundle import tiny_network

from model_layer import Classifier
from model_layer.decision import heatmap
from model_layer.network import Network
from training.data.dataset import read_folders
from training.evaluation import explanation as subject
from training.evaluation.explanation import convolutions, evidence_of, explanation, masked, randomised


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return read_folders([write_labelled_folder(root / "derm", ("nv", "mel", "bkl", "bcc"), 80, seed=0)])


@pytest.fixture
def classifier(tiny_bundle):
    return Classifier.load(tiny_bundle)


def test_evidence_is_the_heat_map_of_the_record_before_it_is_cut_off_at_zero():
    maps = np.random.default_rng(0).normal(0, 1, (14, 14, 8)).astype(np.float32)
    evidence, shown = evidence_of(maps, 3), heatmap(maps, 3)
    assert evidence.shape == (shown.rows, shown.columns) == (7, 7)
    assert evidence.min() < 0
    levels = np.array(shown.values).reshape(7, 7)
    assert np.allclose(np.maximum(evidence, 0) / evidence.max() * 100, levels, atol=0.51)


def test_a_fifth_of_the_cells_is_masked_the_hottest_in_the_images_mean():
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    evidence = np.zeros((7, 7))
    evidence[2, 3:] = evidence[3, 1:] = [9.0]
    covered = masked(pixels, evidence)
    changed = (covered != pixels).any(axis=2)
    assert changed[64:96, 96:].mean() > 0.99
    assert changed[96:128, 32:].mean() > 0.99
    assert not changed[:64].any()
    assert not changed[128:].any()
    assert changed.mean() == pytest.approx(10 / 49, abs=0.01)
    assert covered[70, 200] == pytest.approx(pixels.mean(axis=(0, 1)), abs=0.51)


def test_the_map_of_the_network_passes_and_shuffled_weights_change_it(classifier, images):
    figures = explanation(classifier, images, seed=0)
    assert set(figures) == {"derm", "all"}
    own = figures["derm"]
    assert own["images"] == 80
    assert own["hottest_matters_more"] > 0.8
    assert own["hottest_matters_more"] > own["control"] + 0.1
    assert list(own["shuffled"]) == ["last convolution", "all"]
    assert abs(own["shuffled"]["last convolution"]["rank_correlation"]) < 0.5


def test_a_map_turned_upside_down_fails_the_masking_check(classifier, images, monkeypatch):
    monkeypatch.setattr(subject, "evidence_of", lambda maps, label: -evidence_of(maps, label))
    assert explanation(classifier, images, seed=0)["all"]["hottest_matters_more"] < 0.2


def test_a_map_that_ignores_the_network_fails_the_shuffling_check(classifier, images, monkeypatch):
    fixed = np.random.default_rng(0).normal(0, 1, (4, 4)).astype(np.float32)
    monkeypatch.setattr(subject, "evidence_of", lambda maps, label: fixed)
    assert explanation(classifier, images, seed=0)["all"]["shuffled"]["all"]["alike"] == 1


def test_only_the_last_kernels_are_shuffled_and_keep_their_values():
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(tiny_network()).graph.initializer}
    assert convolutions(tiny_network()) == 2
    for last, shuffled in ((1, {"head"}), (2, {"head", "kernel"})):
        after = {
            t.name: numpy_helper.to_array(t)
            for t in onnx.load_from_string(randomised(tiny_network(), last, 0)).graph.initializer
        }
        assert {name for name, values in before.items() if not np.array_equal(values, after[name])} == shuffled
        for name, values in before.items():
            assert np.array_equal(np.sort(values, axis=None), np.sort(after[name], axis=None))


def test_an_eight_bit_network_is_shuffled_through_its_dequantisers():
    """The shipped kind: kernels are bytes behind DequantizeLinear, which the runtime still accepts afterwards."""
    model = onnx.load_from_string(tiny_network())
    for conv in [node for node in model.graph.node if node.op_type == "Conv"]:
        name = conv.input[1]
        kernel = next(t for t in model.graph.initializer if t.name == name)
        values = numpy_helper.to_array(kernel)
        scale = np.float32(np.abs(values).max() / 127)
        kernel.CopyFrom(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), name))
        model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        node = onnx.helper.make_node("DequantizeLinear", [name, f"{name}_scale"], [f"{name}_float"])
        model.graph.node.insert(0, node)
        conv.input[1] = f"{name}_float"
    network = model.SerializeToString()
    assert convolutions(network) == 2
    shuffled = randomised(network, 2, seed=3)
    assert shuffled != network
    onnxruntime.InferenceSession(shuffled, providers=["CPUExecutionProvider"])


def test_a_branch_that_makes_no_class_maps_is_left_as_it_is():
    model = onnx.load_from_string(tiny_network())
    aside = onnx.helper.make_node("Conv", ["pooled", "aside"], ["unused"])
    model.graph.node.append(aside)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 6, 1, 1), np.float32), "aside"))
    assert convolutions(model.SerializeToString()) == 2


def test_a_shuffled_network_still_runs_and_answers_otherwise(classifier):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    bundle = classifier.bundle
    shuffled = replace(bundle, network=randomised(bundle.network, 1, seed=0))
    before, after = (Network(one).run(pixels).class_maps for one in (bundle, shuffled))
    assert not np.allclose(before, after)
