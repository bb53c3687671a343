"""The training loop: every layer learns at its own rate, averages are kept, and a killed run loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.config import TINY, Stage
from training.errors import TrainingError

ROOT = Path(__file__).parents[2]
STAGES = (Stage("first", 64, 32, (0.6, 1.0)), Stage("last", 64, 32, (0.6, 1.0)))
CONFIG = replace(TINY, size=32, judged=64, stages=STAGES)


pytestmark = pytest.mark.training  # TensorFlow is imported in the tests, which costs seconds where they are not run


class Colours:
    """Pictures whose class is their colour, the same for the same step."""

    def __init__(self, stop_at: int = -1) -> None:
        self._stop_at = stop_at

    def at(self, step):
        if step == self._stop_at:
            raise KeyboardInterrupt
        rng = np.random.default_rng(step)
        labels = rng.integers(0, 3, 16)
        pixels = rng.integers(0, 80, (16, 32, 32, 3)).astype(np.float32)
        pixels[np.arange(16), :, :, labels] += 150
        return pixels, np.eye(3, dtype=np.float32)[labels]


def network(config=CONFIG):
    import keras

    from training.network.architecture import build

    keras.utils.set_random_seed(1)
    return build(32, 3, **config.architecture)


def fit(model, folder, config=CONFIG, stop_at: int = -1):
    from training.fit import loop

    return loop.fit(model, lambda _: Colours(stop_at), lambda _: {"figure": 0.5}, config, folder)


def test_all_layers_learn_and_the_lower_ones_move_less(tmp_path):
    from training.network.architecture import block_of

    model = network()
    before = {layer.name: [w.copy() for w in layer.get_weights()] for layer in model.layers}
    config = replace(CONFIG, layer_decay=0.5, weight_decay=0.0, average=16)
    state = fit(model, tmp_path, config)
    moved: dict[int, float] = {}
    for layer in model.layers:
        if layer.name.startswith("block") and layer.get_weights():
            change = np.abs(layer.get_weights()[0] - before[layer.name][0]).mean()
            moved[block_of(layer)] = max(moved.get(block_of(layer), 0), float(change))
    assert all(moved[block] > 0 for block in range(1, 6))
    assert moved[1] < moved[3] < moved[5]
    assert [look["views"] for look in state.history] == [64, 128]


def test_what_is_kept_is_the_average_and_not_the_last_step(tmp_path):
    kept, last = network(), network()
    fit(kept, tmp_path / "kept", replace(CONFIG, average=10_000))
    fit(last, tmp_path / "last", replace(CONFIG, average=1))
    far = [np.abs(a - b).max() for a, b in zip(kept.get_weights(), last.get_weights(), strict=True)]
    assert max(far) > 1e-3


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    import keras

    monkeypatch.setattr("training.fit.loop.CHECKPOINT_SECONDS", 0.0)
    config = replace(CONFIG, average=32)
    whole, broken = network(), network()
    fit(whole, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, tmp_path / "broken", config, stop_at=5)
    resumed = network()
    keras.utils.set_random_seed(2)  # another process draws other numbers for its dropout, were they not kept
    resumed.set_weights([np.zeros_like(values) for values in resumed.get_weights()])
    state = fit(resumed, tmp_path / "broken", config)
    assert state.step == 8
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_what_a_run_has_learned_counts_only_when_it_has_seen_all_its_views(tmp_path):
    """An accelerator keeps what it has every minute, and may be taken away before the end."""
    from training.fit.loop import State, keep_learned, learned, read_learned

    model = network()
    state = fit(model, tmp_path)
    assert read_learned(tmp_path) is not None
    assert learned(network(), replace(CONFIG, stages=(*STAGES, *STAGES)), tmp_path) is None  # more views were asked for
    keep_learned(tmp_path, model.get_weights(), State(**{**vars(state), "seen": state.seen - 16}))
    assert read_learned(tmp_path) is None


def test_checkpoints_of_another_network_are_refused_in_a_sentence(tmp_path):
    fit(network(), tmp_path)
    other = replace(CONFIG, hidden=8)
    with pytest.raises(TrainingError, match="is of another network"):
        fit(network(other), tmp_path, other)


def test_the_learning_rate_rises_is_held_and_falls_to_nothing_in_the_last_stage():
    from training.fit.loop import rate_factor

    config = replace(CONFIG, warm_up=3_200, stages=(Stage("a", 12_800, 32, (1, 1)), Stage("b", 3_200, 32, (1, 1))))
    rates = [rate_factor(step, config) for step in range(1001)]
    assert rates[0] < 0.01
    assert rates[200:801] == [1.0] * 601
    assert rates[800:] == sorted(rates[800:], reverse=True)
    assert rates[-1] < 1e-6


PROGRAM = """
import sys, time
from dataclasses import replace
from pathlib import Path
from test_fit import CONFIG, STAGES, fit, network
from training.fit import loop
loop.CHECKPOINT_SECONDS = 0.0
config = replace(CONFIG, stages=tuple(replace(s, views=16 * 40) for s in STAGES), judged=10**6)
print(fit(network(config), Path(sys.argv[1]), config).step)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path):
    from training.fit.loop import CHECKPOINT

    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    for _ in range(2):  # twice, at whatever point: in a step or in the middle of writing
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        written = (tmp_path / CHECKPOINT).stat().st_mtime_ns if (tmp_path / CHECKPOINT).exists() else 0
        while run.poll() is None:
            if (tmp_path / CHECKPOINT).exists() and (tmp_path / CHECKPOINT).stat().st_mtime_ns != written:
                time.sleep(0.05)
                run.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        run.wait()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "80"
