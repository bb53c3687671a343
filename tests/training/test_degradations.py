"""Degradations do what their names say, by as much as they say, and leave everything else alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from made_up_answers import image
from PIL import Image
from sample_images import encoded, picture

from model_layer import Classifier, DecodedImage
from training.data.degradations import (
    as_file,
    blurred,
    brightened,
    cast,
    compressed,
    exposed,
    faded,
    opened,
    shrunk,
    turned,
)
from training.data.sampling import drawn_by_class
from training.errors import TrainingError
from training.evaluation.robustness import REFUSED, changes, labels_of

GREY = Image.new("RGB", (40, 30), (118, 118, 118))


def mean(changed: Image.Image) -> np.ndarray:
    return np.asarray(changed, dtype=float).mean(axis=(0, 1))


def test_what_the_worker_takes_is_opened_whatever_it_is_called(tmp_path):
    heic, broken = tmp_path / "photo.jpg", tmp_path / "broken.jpg"
    heic.write_bytes(encoded(picture(1), "HEIF"))
    assert opened(heic, 40).size == (107, 80)
    broken.write_bytes(encoded(picture(1), "JPEG")[:200])
    with pytest.raises(TrainingError, match=r"broken\.jpg cannot be degraded: .*Remove its row or repair it\."):
        opened(broken, 40)


def test_a_stop_is_a_factor_of_two_of_light():
    """Middle grey (18 % of the light, sRGB 118) goes to 9 % and 36 %: sRGB 85 and 162."""
    assert mean(exposed(GREY, -1)) == pytest.approx([85] * 3, abs=1)
    assert mean(exposed(GREY, 1)) == pytest.approx([162] * 3, abs=1)
    assert mean(exposed(GREY, 10)) == pytest.approx([255] * 3)
    assert np.array_equal(exposed(picture(), 0), picture())


def test_brightness_and_casts_multiply_channels():
    assert mean(brightened(GREY, 1.2)) == pytest.approx([142] * 3)
    assert mean(cast(GREY, 1.1, 1.0, 0.5)) == pytest.approx([130, 118, 59])
    assert mean(brightened(GREY, 9)) == pytest.approx([255] * 3)


def test_blur_is_measured_in_shares_of_the_shorter_side_and_keeps_colours():
    small, large = picture(1, (160, 120)), picture(1, (160, 120)).resize((320, 240), Image.Resampling.BICUBIC)
    again = blurred(large, 0.05).resize((160, 120), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(again, float) - np.asarray(blurred(small, 0.05), float)).mean() < 1
    assert mean(blurred(small, 0.05)) == pytest.approx(mean(small), abs=1)
    assert np.asarray(blurred(small, 0.05), float).std() < np.asarray(small, float).std()


def test_shrinking_keeps_the_frame_and_never_enlarges():
    assert shrunk(picture(1, (160, 120)), 60).size == (80, 60)
    assert shrunk(picture(1, (160, 120)), 500).size == (160, 120)
    assert mean(shrunk(picture(1), 60)) == pytest.approx(mean(picture(1)), abs=1)


def test_compression_loses_something_turning_nothing():
    before = np.asarray(picture(2), float)
    assert 0 < np.abs(np.asarray(compressed(picture(2), 30), float) - before).mean() < 10
    assert [turned(picture(2), k).size for k in (1, 2, 3)] == [(120, 160), (160, 120), (120, 160)]
    assert np.array_equal(turned(turned(picture(2), 1), 3), picture(2))


def test_fading_leaves_the_stated_share_of_contrast_around_the_same_mean():
    before, after = np.asarray(picture(3), float), np.asarray(faded(picture(3), 0.25), float)
    assert after.std(axis=(0, 1)) == pytest.approx(before.std(axis=(0, 1)) / 4, rel=0.1)
    assert after.mean(axis=(0, 1)) == pytest.approx(before.mean(axis=(0, 1)), abs=1)


def test_a_photograph_is_opened_upright_and_no_larger_than_is_of_use(tmp_path):
    sideways = Image.new("RGB", (900, 600), "red")
    exif = sideways.getexif()
    exif[0x0112] = 6
    file = tmp_path / "sideways.jpg"
    file.write_bytes(encoded(sideways, "JPEG", exif=exif))
    assert opened(file, 100).size == (200, 300)
    assert opened(file, 1000).size == (600, 900)
    assert np.array_equal(Image.open(io.BytesIO(as_file(picture(4)))), picture(4))


def test_every_change_changes_what_the_network_sees_but_the_first_does_not(tiny_bundle):
    classifier = Classifier.load(tiny_bundle)
    size = classifier.bundle.input_size
    large = picture(5, (400, 300))

    def seen(changed: Image.Image) -> np.ndarray:
        decoded = classifier.decode(as_file(changed))
        return decoded.pixels.astype(float) if isinstance(decoded, DecodedImage) else np.zeros((size, size, 3))

    before = seen(large)
    for name, change in changes(size).items():
        assert (np.abs(seen(change(large)) - before).max() > 0) == (name != "as they are"), name


def test_labels_are_those_of_the_classifier_and_a_refusal_is_none_of_them(tiny_bundle):
    classifier = Classifier.load(tiny_bundle)
    files = [encoded(picture(k), "JPEG") for k in range(19)]
    answers = classifier.classify(files)
    codes = [label.code for label in classifier.bundle.labels]
    files.insert(3, b"no image")
    labels = labels_of(classifier, iter(files))
    assert labels[3] == REFUSED
    assert np.delete(labels, 3).tolist() == [codes.index(answer.label) for answer in answers]


def test_a_draw_is_even_takes_a_lesion_once_and_depends_on_its_seed_alone():
    images = [image(k % 2 and 1, f"{s}{k // 2}", s) for s in ("derm", "phone") for k in range(100)]
    some = drawn_by_class(images, 10, seed=1)
    assert len(some) == 40
    assert len({one.lesion for one in some}) == 40
    assert [i.lesion for i in drawn_by_class(images, 10, seed=1)] == [i.lesion for i in some]
    assert [i.lesion for i in drawn_by_class(images, 10, seed=2)] != [i.lesion for i in some]
    assert drawn_by_class(images, None, seed=1) == images
