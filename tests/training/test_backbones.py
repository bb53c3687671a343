"""Other networks of keras.applications fit under the same head, and are served like VGG16."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from training.__main__ import main
from training.data.dataset import LABELS

pytestmark = pytest.mark.training  # TensorFlow is imported in the tests, which costs seconds where they are not run


def test_another_backbone_is_exported_and_answers_like_keras(tmp_path):
    from training.fit.finish import export
    from training.network.architecture import build

    network = build(96, 8, backbone="MobileNetV2", hidden=16)
    # Random weights fade to nothing over 50 layers: a head that is a thousand times as loud makes a difference visible.
    for name in ("head_evidence", "class_maps"):
        layer = network.get_layer(name)
        layer.set_weights([1e6 * layer.get_weights()[0], layer.get_weights()[1]])
    pixels = np.random.default_rng(0).integers(0, 255, (4, 96, 96, 3)).astype(np.uint8)
    (tmp_path / "bundle").mkdir()
    export(network, tmp_path / "bundle" / "model.onnx", pixels)
    exported = onnxruntime.InferenceSession((tmp_path / "model.float.onnx").read_bytes())
    (maps,) = exported.run(["class_maps"], {"pixels": pixels})
    expected = np.asarray(network(pixels.astype(np.float32), training=False)["class_maps"])
    assert maps.shape == (4, 3, 3, 8)
    assert np.abs(expected).max() > 0
    assert np.allclose(maps, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())


def test_another_backbone_learns_at_one_rate_and_the_head_at_its_own():
    from training.network.architecture import BACKBONE, block_of, build

    network = build(96, 8, backbone="MobileNetV2")
    assert block_of(network.get_layer(BACKBONE)) < 6
    assert {block_of(layer) for layer in network.layers if layer.name.startswith("head")} == {6}


def test_every_named_backbone_exists_in_keras():
    import keras

    from training.network.architecture import BACKBONES, VGG16, application

    assert VGG16 in BACKBONES
    for name in BACKBONES:
        assert application(name) is getattr(keras.applications, name)


@pytest.mark.parametrize("arguments", [["--backbone", "VGG99"], ["--backbone", "MobileNetV2", "--weights", "none"]])
def test_what_cannot_be_compared_is_said_in_one_sentence(tmp_path, capsys, arguments):
    data = tmp_path / "data"
    data.mkdir()
    status = main(["train", "--data", str(data), "--weights", "nowhere.h5", "--out", str(tmp_path / "out"), *arguments])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1
    assert error.startswith("train: ")


def test_vgg16_does_not_start_from_another_backbone(tmp_path):
    from training.config import TINY
    from training.errors import TrainingError
    from training.fit.first_weights import started_from
    from training.fit.loop import State, keep_learned
    from training.network.architecture import build

    (tmp_path / "checkpoints").mkdir()
    architecture = {**TINY.architecture, "backbone": "MobileNetV3Small"}
    keep_learned(tmp_path / "checkpoints", build(None, len(LABELS), **architecture).get_weights(), State())
    material = SimpleNamespace(digest="of images", without=())
    claimed = {"images": "of images", "seed": TINY.seed, "without": [], "options": [architecture]}
    (tmp_path / "run.json").write_text(json.dumps(claimed))
    with pytest.raises(TrainingError, match="only VGG16 can be pruned"):
        started_from(tmp_path, material, TINY, tmp_path)
