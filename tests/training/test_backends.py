"""The training loop runs on JAX too: the backend of accelerators, which `make train` itself does not install."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from training.config import TINY, Stage
from training.fit.loop import fit
from training.network.architecture import build


class Colours:
    def at(self, step):
        rng = np.random.default_rng(step)
        labels = rng.integers(0, 3, 16)
        pixels = rng.integers(0, 80, (16, 32, 32, 3)).astype(np.float32)
        pixels[np.arange(16), :, :, labels] += 150
        return pixels, np.eye(3, dtype=np.float32)[labels]


def right(learner):
    pixels, shares = Colours().at(10**6)
    logits = np.asarray(learner(pixels, training=False))
    return {"score": float(np.mean(logits.argmax(axis=1) == shares.argmax(axis=1)))}


stages = (Stage("colours", 1920, 32, (0.6, 1.0)), Stage("the last", 160, 32, (0.6, 1.0)))
config = replace(TINY, size=32, judged=320, stages=stages)
keras.utils.set_random_seed(0)
state = fit(build(32, 3, **config.architecture), lambda _: Colours(), right, config, Path(sys.argv[1]))
losses = [look["loss"] for look in state.history]
best = max(look["score"] for look in state.history)
print(json.dumps({"backend": keras.backend.backend(), "best": best, "losses": losses}))
"""


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param(
            "jax",
            marks=pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed: not run"),
        ),
    ],
)
def test_all_blocks_learn_on_each_backend(backend, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["backend"] == backend
    assert found["losses"][-1] < found["losses"][0]
    assert found["best"] > 0.9
