"""The training loop keeps the best epoch, stops when nothing gets better, and goes on where it was interrupted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.config import TINY, Phase
from training.errors import TrainingError
from training.fit import State, fit, mixed, schedule
from training.network import build, cut

CONFIG = replace(
    TINY, size=32, epoch=32, batch=16, phases=(Phase("head", first_block=6, epochs=6, learning_rate=1e-2),)
)


class Noise:
    """The same random features for the same step."""

    def at(self, step):
        rng = np.random.default_rng(step)
        return rng.normal(size=(16, 8, 8, 8)).astype(np.float32), rng.integers(0, 3, 16)


def network():
    return cut(build(32, 3, width=1 / 16, hidden=8), 2)[1]


def scripted(scores, *, interrupt_at=None):
    """An evaluation that answers with `scores` one after the other."""
    answers = iter(scores)
    calls = []

    def evaluate(_model):
        calls.append(1)
        if len(calls) == interrupt_at:
            raise KeyboardInterrupt
        return {"score": next(answers)}

    evaluate.calls = calls
    return evaluate


def test_the_best_epoch_is_kept_and_patience_ends_the_phase(tmp_path):
    model = network()
    kept = {}

    def evaluate(current):
        kept[len(kept)] = [w.copy() for w in current.get_weights()]
        return {"score": [0.3, 0.6, 0.5, 0.4, 0.9, 0.9][len(kept) - 1]}

    state = fit(model, lambda _: Noise(), evaluate, replace(CONFIG, patience=2), tmp_path)
    assert len(state.history) == 4  # two epochs without a better one end it: the 0.9 is never reached
    assert state.best == 0.6
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[1], strict=True))


def test_an_interrupted_run_goes_on_after_its_last_whole_epoch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(network(), lambda _: Noise(), scripted([0.1, 0.2], interrupt_at=3), CONFIG, tmp_path)
    again = scripted([0.3, 0.4, 0.5, 0.6])
    state = fit(network(), lambda _: Noise(), again, CONFIG, tmp_path)
    assert len(again.calls) == 4
    assert [row["score"] for row in state.history] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert state.step == 6 * 2


def test_only_the_free_blocks_learn(tmp_path):
    model = network()
    before = {layer.name: [w.copy() for w in layer.get_weights()] for layer in model.layers}
    fit(model, lambda _: Noise(), scripted([0.1] * 6), CONFIG, tmp_path)
    for layer in model.layers:
        same = all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
        if layer.name.startswith("block"):
            assert same, layer.name
        elif layer.name == "class_maps":
            assert not same


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [schedule(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-6


def test_mixup_mixes_features_and_labels_by_the_same_shares():
    rng = np.random.default_rng(3)
    targets = np.eye(16, dtype=np.float32)  # every item its own class: the shares can be read off the labels
    inputs = np.broadcast_to(targets[:, None, None, :], (16, 2, 2, 16)).copy()
    features, labels = mixed(inputs, targets, 0.4, rng)
    assert np.allclose(features[:, 0, 0], labels)
    assert np.allclose(labels.sum(axis=1), 1)
    assert (labels.argmax(axis=1) == np.arange(16)).all()  # mostly itself
    assert (labels.max(axis=1) < 1).any()
    assert mixed(inputs, targets, 0.0, rng)[0] is inputs


def test_what_is_gone_on_from_stays_where_nothing_gets_better(tmp_path):
    model = network()
    before = [w.copy() for w in model.get_weights()]
    evaluate = scripted([0.9, *[0.5] * 6])
    state = fit(model, lambda _: Noise(), evaluate, CONFIG, tmp_path, State(phase=0, history=[{"epoch": 1}]))
    assert len(state.history) == 1 + CONFIG.patience
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_checkpoints_of_another_network_are_not_gone_on_from(tmp_path):
    fit(network(), lambda _: Noise(), scripted([0.1] * 6), CONFIG, tmp_path)
    other = cut(build(32, 3, width=1 / 16, hidden=8, winograd=True), 2)[1]
    with pytest.raises(TrainingError, match="with or without --winograd"):
        fit(other, lambda _: Noise(), scripted([0.1] * 6), CONFIG, tmp_path)
