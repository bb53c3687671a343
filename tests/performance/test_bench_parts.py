"""The bench's own parts, run for real on a tiny bundle: a bench that measures the wrong thing is worse than none."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from convolutions import OUTPUT, convolutions
from sample_images import jpeg

from benchmarks import baseline, processors
from benchmarks.engines import write_float_twin
from benchmarks.hidden_units import hiding
from benchmarks.layers import convolutions as shapes
from benchmarks.layers import measurable, peak
from benchmarks.side_by_side import __main__ as bench
from benchmarks.side_by_side.process import worker
from benchmarks.side_by_side.uploads import pretended
from training.network.quantisation import quantise


@pytest.fixture
def environment(tiny_bundle) -> dict[str, str]:
    return {
        "PREDICTIONS_TABLE": "predictions",
        "MODEL_BUNDLE": str(tiny_bundle),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }


def test_a_worker_process_handles_events_without_an_emulator(environment, tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    files = [folder / f"{n}.jpg" for n in range(5)]
    for n, file in enumerate(files):
        file.write_bytes(jpeg(n))
    with worker("ours", environment, tmp_path / "log", cores=1) as ours:
        assert ours.answer() == {"imported": True}
        assert ours.ask(fakes=str(folder)) == {"clients": 2}
        ours.ask(constant_network=True)
        sample = ours.handle([pretended("images", files, "a"), pretended("images", files, "b")])
        assert (sample.images, ours.handled) == (10, 10)
        assert sample.cpu_seconds > 0
        assert sample.seconds > 0
        assert ours.memory()["peak"] > 20


def test_parts_of_a_start_add_up_in_order(environment, tmp_path):
    with worker("ours", environment, tmp_path / "log", option="parts") as apart:
        parts = apart.answer()
    assert list(parts)[:3] == ["interpreter", "numpy", "runtime"]
    assert {"boto3", "powertools", "network", "first inference"} < set(parts)
    assert all(ms >= 0 for ms in parts.values())


@pytest.mark.skipif(not measurable(), reason="needs AVX-512 VNNI on x86")
def test_the_processors_peak_is_one_that_a_processor_can_have():
    """128 operations for each VPDPBUSD, of which a core starts one or two a cycle, at 0.6 to 6 GHz."""
    assert 128 * 0.6e9 < peak(1) < 2 * 128 * 6e9


def test_the_float_twin_answers_as_the_network_that_was_quantised(tmp_path):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    plain, shipped, twin = (tmp_path / f"{name}.onnx" for name in ("plain", "shipped", "twin"))
    plain.write_bytes(convolutions())
    quantise(plain, shipped, pixels, input_name="pixels")
    write_float_twin(shipped, twin)
    answers = {file: _maps(file, pixels) for file in (plain, shipped, twin)}
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(twin).graph.node}
    error = float(np.abs(answers[twin] - answers[plain]).mean())
    assert error < 0.05 * np.abs(answers[plain]).mean(), "the rounding of weights to 7 bits is all that is left"


def _maps(file, pixels):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {"pixels": pixels})[0]


def test_a_bundle_that_is_none_is_one_sentence_before_anything_is_drawn(tmp_path, capsys):
    assert bench.main(["--out", str(tmp_path / "out"), "--bundle", str(tmp_path / "nope")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("bench: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_compares_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processors, "emulator", lambda: ["env"])
    assert processors.main(["--bundle", "models/vgg16-skin", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"processors: no .jpg under {tmp_path}.\n"


SEEN = """
import json, os
from benchmarks import machine
from benchmarks.hidden_units import hide_from_here_on
hide_from_here_on()
from numpy._core._multiarray_umath import __cpu_features__ as numpys
facts = machine.facts()
print(json.dumps([facts["vector_units"], facts["hidden"], [name for name in numpys if numpys[name]]]))
"""


@pytest.mark.skipif(not measurable(), reason="needs AVX-512 VNNI on x86")
def test_a_bench_with_hidden_units_says_which_ones_its_figures_are_without():
    if hiding() is None:
        pytest.skip("needs a processor with CPUID faulting, and a C compiler")
    run = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, check=True)
    seen, hidden, numpys = json.loads(run.stdout)
    assert seen == ["avx2"]
    assert {"avx512f", "avx512_vnni"} <= set(hidden)
    assert not [name for name in numpys if name.startswith("AVX512")]


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="needs TensorFlow")
def test_the_baseline_is_as_wide_as_the_network_that_is_measured(tmp_path):
    """A worker with four times the operations would be no baseline."""
    (shipped,) = (baseline.ROOT / "models" / "vgg16-skin").glob("*.onnx")
    widths = [channels for *_, channels in shapes(shipped)]
    (tmp_path / baseline.WIDTHS).write_text("64,64", encoding="utf-8")  # left by a bundle of other widths
    baseline.make_models(tmp_path, shipped)
    script = """
import json, sys, keras
layers = keras.saving.load_model(sys.argv[1]).layers
print(json.dumps([layer.filters for layer in layers if layer.name.startswith("block") and "conv" in layer.name]))
"""
    command = [sys.executable, "-c", script, str(tmp_path / baseline.KERAS)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.splitlines()[-1]) == widths
    assert (tmp_path / baseline.LITERT / "int8.tflite").stat().st_size < 1.5 * shipped.stat().st_size
