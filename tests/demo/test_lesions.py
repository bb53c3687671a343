"""The synthetic images: reproducible, various, and each bad one bad in its own way."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from demo.lesions import BAD_FILES, LOOKS, demo_images, dermoscopy, phone
from demo.lesions.assortment import _snapshot
from model_layer import DecodedImage, ImageRejectedError, decode


def pixels(image) -> np.ndarray:
    return np.asarray(image, dtype=float)


def outcome(data: bytes) -> DecodedImage | str:
    try:
        return decode(data, 224)
    except ImageRejectedError as error:
        return error.code


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    listed = list(demo_images(seed=3))
    assert len({name for name, _ in listed}) == 24
    return dict(listed)


def test_a_seed_gives_the_same_files_and_another_seed_others(files):
    again = dict(demo_images(seed=3, count=5))
    assert again == {name: files[name] for name in again}
    other = dict(demo_images(seed=4, count=5))
    assert not set(other.values()) & set(files.values())


def test_the_demo_shows_every_rejection_and_enough_good_images(files):
    """Decoded in a fresh process, as the worker does: nothing else has set up the decoder there."""
    script = (
        "import sys, pickle\n"
        "from model_layer import ImageRejectedError, decode\n"
        "for name, data in pickle.load(sys.stdin.buffer).items():\n"
        "    try: decode(data, 224); print(name, 'good', sep='\\t')\n"
        "    except ImageRejectedError as error: print(name, error.code, sep='\\t')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(files), capture_output=True, check=True, timeout=60
    )
    codes = dict(line.split("\t") for line in run.stdout.decode().splitlines())
    bad = {name: code for name, code in codes.items() if code != "good"}
    assert bad == {
        "broken-off.jpg": "truncated",
        "lens-cap.png": "blank",
        "noise.jpg": "not_an_image",
        "notes of the visit.jpg": "not_an_image",
        "over-large-header.png": "too_many_pixels",
        "icon.png": "too_small",
    }
    assert set(bad) == set(BAD_FILES)
    assert len(codes) - len(bad) == 18
    assert {outcome(files[name]).facts.format for name in codes.keys() - bad} == {"jpeg", "png", "webp", "tiff"}


def test_names_stay_distinct_when_many_are_asked_for(monkeypatch):
    small = dermoscopy(0).resize((60, 45))
    for view in ("dermoscopy", "phone"):  # drawing 150 takes half a minute, and only the names matter here
        monkeypatch.setattr(f"demo.lesions.assortment.{view}", lambda *_, **__: small)
    names = [name for name, _ in demo_images(count=150)]
    assert len(set(names)) == 150


@pytest.mark.parametrize("look", sorted(LOOKS))
def test_each_look_shows_a_lesion_that_stands_out_from_its_skin(look):
    shown = pixels(dermoscopy(11, look, fitzpatrick=2))
    height, width, _ = shown.shape
    assert (width, height) == (600, 450)
    centre = np.median(shown[200:250, 270:330].reshape(-1, 3), axis=0)
    ring = np.median(shown[60:390, 80:110].reshape(-1, 3), axis=0)  # within a dermoscope's tube, outside of the lesion
    assert ring[1] - centre[1] > 15  # green, which both pigment and blood absorb


def test_skin_types_run_from_pale_to_dark():
    for view in (dermoscopy, phone):
        skin = [np.median(pixels(view(7, "homogeneous", fitzpatrick=kind))[150:300, 100:130]) for kind in (1, 3, 5, 6)]
        assert skin == sorted(skin, reverse=True)
        assert skin[0] - skin[-1] > 40


def test_the_tagged_phone_picture_stands_upright_after_decoding():
    upright = Image.new("RGB", (640, 480), (60, 60, 60))
    upright.paste((200, 90, 70), (0, 0, 640, 240))
    _, data = _snapshot(2, upright)
    assert Image.open(io.BytesIO(data)).size == (480, 640)  # stored on its side
    decoded = decode(data, 224)
    assert (decoded.facts.width, decoded.facts.height) == (640, 480)
    assert decoded.pixels[:100, :, 0].min() > 150
    assert decoded.pixels[124:, :, 0].max() < 100
