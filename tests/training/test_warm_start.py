"""Training goes on from a finished bundle: its network comes back as it answers, and what does not fit is refused."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from training.config import TINY
from training.errors import TrainingError
from training.finish import export
from training.network import LOGITS, build
from training.warm_start import Start, load_from_bundle, settle_on

SHAPE = {"width": 1 / 8, "hidden": 8}


def trained_a_little():
    """A network whose normalisation has statistics and factors of its own."""
    keras.utils.set_random_seed(1)
    model = build(32, 8, **SHAPE)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            rng = np.random.default_rng(0)
            channels = layer.get_weights()[0].shape
            layer.set_weights([rng.uniform(0.5, 2, channels) for _ in range(4)])
    return model


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, pixels):
    """A network and its 8-bit file."""
    model = trained_a_little()
    file = tmp_path_factory.mktemp("run") / "bundle" / "model.onnx"
    file.parent.mkdir()
    export(model, file, pixels)
    return model, file


def logits(model, pixels):
    return np.asarray(model(pixels.astype(np.float32), training=False)[LOGITS])


def test_the_network_comes_back_as_it_answers(exported, pixels):
    model, file = exported
    keras.utils.set_random_seed(2)
    fresh = build(32, 8, **SHAPE)
    before = np.abs(logits(fresh, pixels) - logits(model, pixels)).max()
    load_from_bundle(fresh, file)
    # Weights came back with 7 bits for each channel.
    assert np.abs(logits(fresh, pixels) - logits(model, pixels)).max() < 0.05 * before


def test_settling_changes_no_answer_and_lets_training_start_from_it(exported, pixels):
    """Training normalises by the batch: with the real statistics that gives the answers of serving, nearly."""
    _, file = exported
    fresh = build(32, 8, dropout=0.0, **SHAPE)
    load_from_bundle(fresh, file)
    served = logits(fresh, pixels)
    unsettled = np.asarray(fresh(pixels.astype(np.float32), training=True)[LOGITS])
    load_from_bundle(fresh, file)
    settle_on(fresh, pixels)
    np.testing.assert_allclose(logits(fresh, pixels), served, atol=1e-3)
    settled = np.asarray(fresh(pixels.astype(np.float32), training=True)[LOGITS])
    assert np.abs(settled - served).max() < 0.01 * np.abs(unsettled - served).max()


def test_blocks_that_were_never_trained_keep_what_they_have(exported):
    _, file = exported
    fresh = build(32, 8, **SHAPE)
    before = {layer.name: [w.copy() for w in layer.get_weights()] for layer in fresh.layers}
    load_from_bundle(fresh, file, above=3)
    changed = {
        layer.name
        for layer in fresh.layers
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert {name[:6] for name in changed if name.startswith("block")} == {"block4", "block5"}


@pytest.mark.parametrize("shape", [{"width": 1 / 4, "hidden": 8}, {"width": 1 / 8, "hidden": 16}])
def test_a_network_of_another_shape_is_refused(exported, shape):
    _, file = exported
    with pytest.raises(TrainingError, match="of another size than this configuration's"):
        load_from_bundle(build(32, 8, **shape), file)


def manifest(folder, **training):
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"training": training}))
    return folder


def test_a_run_goes_on_with_the_other_runs_history(tmp_path):
    past = {"configuration": {"seed": TINY.seed}, "history": [{"epoch": 1}, {"epoch": 2}], "seconds": 60.0}
    state = Start(manifest(tmp_path / "b", **past), phases=2).state(TINY)
    assert (state.phase, state.epoch, state.step) == (len(TINY.phases) - 2, 0, 2 * TINY.epoch // TINY.batch)
    assert state.history == past["history"]
    assert state.seconds == 60.0


@pytest.mark.parametrize(
    ("past", "phases", "sentence"),
    [
        ({"configuration": {"seed": 1}, "history": [], "seconds": 1}, 1, "trained with seed 1.*Give --seed 1"),
        ({"configuration": {"seed": TINY.seed}, "history": [], "seconds": 1}, 9, "--last 9 is not among them"),
        ({"configuration": {"seed": TINY.seed}, "history": [], "seconds": 1}, 0, "--last 0 is not among them"),
        ({"seconds": 1}, 1, "is no bundle that a training run made"),
    ],
)
def test_a_start_that_would_spoil_the_figures_is_refused(tmp_path, past, phases, sentence):
    with pytest.raises(TrainingError, match=sentence):
        Start(manifest(tmp_path / "b", **past), phases).state(TINY)
