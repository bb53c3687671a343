"""The shipped bundle is whole, small, described by its own figures, and the same on every processor."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from benchmarks.processors import EMULATORS, HIDDEN, answers, compare, emulator
from demo.lesions import demo_images
from model_layer import Classifier, Prediction
from training.evaluation.metrics import HEADLINES
from training.report.model_card import NAMES, figures_table, regenerated

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "models" / "vgg16-skin"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> list[Path]:
    """Two rendered lesions as files."""
    folder = tmp_path_factory.mktemp("rendered")
    files = []
    for i, (_, content) in zip(range(2), demo_images(5, 24), strict=False):
        files.append(folder / f"{i}.jpg")
        files[-1].write_bytes(content)
    return files


def test_the_bundle_loads_and_answers(rendered):
    classifier = Classifier.load(BUNDLE)
    assert [label.code for label in classifier.bundle.labels] == [
        "nv",
        "mel",
        "bkl",
        "bcc",
        "akiec",
        "scc",
        "vasc",
        "df",
    ]
    for answer in classifier.classify([file.read_bytes() for file in rendered]):
        assert isinstance(answer, Prediction)
        assert len(answer.heatmap.values) == 49


def test_its_convolutions_are_all_in_eight_bits_except_the_heads():
    """8 bits take a quarter of the time and of the size, and a change of the exporter could undo that silently."""
    graph = onnx.load(BUNDLE / "model.onnx").graph
    made = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = [node for node in convolutions if node.input[1] in made]  # a float kernel is made by no node
    assert (len(convolutions), len(quantised)) == (15, 13)
    assert {made[tensor].op_type for node in quantised for tensor in node.input[:2]} == {"DequantizeLinear"}
    assert sum(node.op_type == "Relu" for node in graph.node) == 1, (
        "the others are part of their convolution's rounding"
    )


def test_it_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) <= 20_000_000


def test_the_model_card_is_what_its_figures_make_it():
    assert (BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8") == regenerated(BUNDLE)


def test_the_readme_quotes_the_bundles_own_figures():
    metrics = json.loads((BUNDLE / "metrics.json").read_text(encoding="utf-8"))
    table = figures_table(metrics, ("balanced_accuracy", "macro_auc"))
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_figure_has_a_name_in_the_card():
    assert set(HEADLINES) == set(NAMES)


@pytest.mark.slow
@pytest.mark.timeout(400)  # every instruction is emulated
def test_the_same_answers_on_an_avx2_only_processor(rendered):
    masking = emulator()
    if masking is None:
        pytest.skip(f"no emulator of an AVX2-only processor: install {' or '.join(e[0] for e in EMULATORS)}")
    native, masked = answers(BUNDLE, rendered, [], 1), answers(BUNDLE, rendered, masking, 1)
    if any(masked["vector_units"][name] for name in HIDDEN):
        pytest.skip(f"{masking[0]} does not hide AVX-512 on this machine")
    result = compare(native["answers"], masked["answers"])
    assert result["same_label"] == result["same_status"] == result["images"] == len(rendered)
    assert result["largest_probability_change"] < 0.01
