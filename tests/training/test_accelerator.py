"""Training on an accelerator, tried on the processor: a pack goes there, and weights come back that make a bundle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from labelled_folders import write_labelled_folder
from onnx import numpy_helper
from PIL import Image

from training.__main__ import main
from training.accelerator.spoil import packed
from training.fit.loop import read_learned

pytestmark = pytest.mark.training
ROOT = Path(__file__).parents[2]
VIEWS = ["--views", "640", "320"]
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""Compiling takes longer here than all the training that it is for."""


def test_views_are_resampled_as_pillow_does_it():
    import jax
    import jax.numpy as jnp

    from training.accelerator.device_views import ViewOptions, geometry, resampled

    rng, side, size = np.random.default_rng(0), 64, 48
    small = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    squares = np.stack([np.asarray(Image.fromarray(s).resize((side, side), Image.Resampling.BICUBIC)) for s in small])
    matrix, offset = geometry(jax.random.key(3), 6, side, ViewOptions(size, (0.6, 1.05), 1.0, 0.2))
    views = np.asarray(resampled(jnp.asarray(packed(squares)), matrix, offset, size))
    margin = side // 2
    for square, view, ((a, b), (d, e)), (c, f) in zip(
        squares, views, np.asarray(matrix).tolist(), np.asarray(offset).tolist(), strict=True
    ):
        mirrored = Image.fromarray(np.pad(square, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
        map_of = (a, b, c + margin, d, e, f + margin)
        same = mirrored.transform((size, size), Image.Transform.AFFINE, map_of, Image.Resampling.BICUBIC)
        assert np.mean(np.asarray(same) != view) < 0.01  # float32 rounds a few levels the other way
        assert np.abs(np.asarray(same).astype(int) - view).max() <= 1


def test_colours_and_mixtures_stay_in_range_and_labels_stay_shares():
    import jax
    import jax.numpy as jnp

    from training.accelerator.device_views import ViewOptions, views

    squares = np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), np.uint8)
    copies = [jnp.asarray(packed(squares)), jnp.asarray(packed(255 - squares))]
    options = ViewOptions(24, (0.6, 1.05), 1.0, 0.5)
    some = jax.jit(lambda key: views(copies, jnp.arange(8), jnp.eye(8), key, options))  # compiled at once, not by steps
    pixels, targets = some(jax.random.key(1))
    assert pixels.shape == (8, 24, 24, 3)
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 255
    assert np.allclose(targets.sum(axis=1), 1)
    assert np.all(np.asarray(targets).argmax(axis=1) == np.arange(8))  # the image itself has the larger share
    again, _ = some(jax.random.key(2))
    assert float(jnp.abs(pixels - again).mean()) > 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return [
        str(write_labelled_folder(root / "derm", ("nv", "nv", "mel", "bkl"), 160, seed=0)),
        str(write_labelled_folder(root / "phone", ("nv", "bcc"), 60, seed=1000)),
    ]


@pytest.mark.slow
def test_what_an_accelerator_learned_becomes_a_bundle_and_teaches(folders, tmp_path, capfd):
    """The network is trained there; `make train` has nothing left to learn; a second network learns from it."""
    tiny = ["--tiny", "--weights", "none", *VIEWS]
    assert main(["pack", "--data", *folders, "--out", str(tmp_path / "there"), *tiny]) == 0
    run = subprocess.run(
        [sys.executable, "-m", "training.accelerator", str(tmp_path / "there/pack"), "--out", str(tmp_path / "came")],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": QUICKLY_COMPILED},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    out = tmp_path / "came/network"
    few = ["--lesions", "0", "--robustness", "0", "--explained", "0"]
    begun = ["train", "--data", *folders, "--out", str(out), *tiny, *few]
    assert main([*begun, "--seed", "5"]) == 1  # its network knows images that another seed holds out
    assert "holds a run with other seed" in capfd.readouterr().err
    assert main(begun) == 0
    assert "small views" not in capfd.readouterr().err
    manifest = json.loads((out / "bundle/manifest.json").read_text())
    assert manifest["training"]["backend"] == "jax"
    assert manifest["training"]["calibration_split"]["derm"]["balanced_accuracy"] > 0.5

    taught = ["train", "--data", *folders, *tiny, *few, "--taught-by", str(out)]
    assert main([*taught, "--out", str(tmp_path / "taught")]) == 0
    second = json.loads((tmp_path / "taught/bundle/manifest.json").read_text())["training"]
    assert second["calibration_split"]["derm"]["balanced_accuracy"] > 0.5
    first, last = (read_learned(run / "checkpoints")[0][0] for run in (out, tmp_path / "taught"))
    assert not np.allclose(first, last, atol=1e-6)
    halfway = ((first + last) / 2).transpose(3, 2, 0, 1)
    exported = [numpy_helper.to_array(x) for x in onnx.load(tmp_path / "taught/model.float.onnx").graph.initializer]
    assert any(x.shape == halfway.shape and np.allclose(x, halfway, atol=1e-6) for x in exported)
    assert len(second["taught_by"]) == 1
    assert second["taught_by"][0][:12] in (tmp_path / "taught/bundle/MODEL_CARD.md").read_text()
    assert second["command"].endswith("--taught-by network'")  # no path of this machine
    capfd.readouterr()
    assert main([*taught, "--out", str(tmp_path / "other"), "--seed", "5"]) == 1
    assert "its network knows images that count as unseen here" in capfd.readouterr().err
    assert main([*taught, "--out", str(tmp_path / "other"), "--without", "phone"]) == 1
    assert "its network knows images that count as unseen here" in capfd.readouterr().err
