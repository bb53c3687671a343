"""The image that every bundle can be asked about, and what a worker says that answers it otherwise."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_layer import BundleError, Classifier
from model_layer.known_answer import departure, known_answer, known_image

SHIPPED = Path(__file__).parents[2] / "models" / "vgg16-skin"
PIXELS = "3cbe37acb81dca31b38d15552621f04e798852aa1252691c7ca0b0f117f7682c"


def test_the_image_has_the_same_pixels_everywhere():
    pixels = np.asarray(Image.open(io.BytesIO(known_image())))
    assert pixels.shape == (320, 320, 3)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PIXELS


def stating(bundle: Path, folder: Path, answer: dict[str, float]) -> Path:
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["known_answer"] = {"probabilities": answer}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_shipped_bundle_states_its_answer_and_gives_it():
    classifier = Classifier.load(SHIPPED)
    assert classifier.bundle.known_answer
    assert departure(classifier) is None


def test_another_network_under_a_stated_answer_is_noticed(tiny_bundle, tmp_path):
    answer = known_answer(Classifier.load(tiny_bundle))
    assert departure(Classifier.load(stating(tiny_bundle, tmp_path / "same", answer))) is None
    almost = {code: value + 0.01 for code, value in answer.items()}
    assert departure(Classifier.load(stating(tiny_bundle, tmp_path / "almost", almost))) is None
    others = dict(zip(answer, sorted(answer.values(), key=lambda value: -value)[::-1], strict=True))
    sentence = departure(Classifier.load(stating(tiny_bundle, tmp_path / "other", others)))
    assert sentence is not None
    assert "its manifest states" in sentence


def test_a_bundle_that_states_none_must_give_probabilities_all_the_same(tiny_bundle, monkeypatch):
    classifier = Classifier.load(tiny_bundle)
    assert departure(classifier) is None
    run = classifier._network.run

    def broken(pixels):
        outputs = run(pixels)
        return replace(outputs, class_maps=outputs.class_maps * np.nan)

    monkeypatch.setattr(classifier._network, "run", broken)
    with np.errstate(all="ignore"):
        assert "sum to nan" in str(departure(classifier))


@pytest.mark.parametrize("answer", [{"nv": 1.0}, {}, {"nv": "much"}, 3])
def test_a_statement_about_other_labels_is_refused(tiny_bundle, tmp_path, answer):
    with pytest.raises(BundleError):
        Classifier.load(stating(tiny_bundle, tmp_path / "b", answer))
