"""The angle is that of the skin around the lesion, whatever else is in the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageCms

from training.data.skin_tone import lab, tinted, tone, typology_angle

LIGHT, BROWN = (208, 165, 138), (120, 85, 60)


def skin(colour, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 4, (224, 224, 1))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def exact(colour) -> float:
    lightness, _, b = lab(np.array([colour], np.uint8))[0]
    return math.degrees(math.atan((lightness - 50) / b))


def test_lab_agrees_with_littlecms():
    colours = np.random.default_rng(0).integers(0, 256, (200, 3), dtype=np.uint8)
    lcms = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB", 6504), "RGB", "LAB", renderingIntent=1
    )
    theirs = np.asarray(ImageCms.applyTransform(Image.fromarray(colours[None]), lcms))[0].astype(float)
    ours = lab(colours)
    # Its own way leads over D50: a level or two off in the strongest colours.
    assert np.median(np.abs(ours[:, 0] - theirs[:, 0] / 255 * 100)) < 1
    b = np.where(theirs[:, 2] > 127, theirs[:, 2] - 256, theirs[:, 2])
    assert np.median(np.abs(ours[:, 2] - b)) < 2


@pytest.mark.parametrize("colour", [LIGHT, BROWN, (180, 135, 105)])
def test_plain_skin_has_its_own_angle(colour):
    assert typology_angle(skin(colour)) == pytest.approx(exact(colour), abs=1.5)


def test_bands_are_those_of_the_literature():
    assert [tone(a) for a in (60, 55, 41, 28, 10, -30, -60)] == [
        "very light",
        "light",
        "intermediate",
        "tan",
        "brown",
        "dark",
        "dark",
    ]
    assert tone(exact(LIGHT)) == "light"
    assert tone(exact(BROWN)) == "brown"


def test_lesion_vignette_hair_and_highlight_do_not_move_it():
    rows, columns = np.mgrid[:224, :224]
    from_centre = np.hypot(rows - 112, columns - 112)
    picture = skin(LIGHT)
    picture[from_centre < 60] = (70, 45, 40)  # lesion
    picture[from_centre > 125] = (6, 5, 5)  # a dermatoscope's round frame
    for start in range(-200, 224, 24):  # hairs
        picture[np.abs(rows - columns - start) < 2] = (40, 30, 25)
    picture[:12, 80:110] = 255  # gel
    assert typology_angle(picture) == pytest.approx(exact(LIGHT), abs=3)


def test_a_lesion_that_reaches_one_border_does_not_move_it():
    picture = skin(LIGHT)
    picture[120:, :90] = (70, 45, 40)
    assert typology_angle(picture) == pytest.approx(exact(LIGHT), abs=3)


def test_a_dark_third_of_the_ring_does_not_move_it_even_where_the_skin_is_mottled():
    noise = np.random.default_rng(0).normal(0, 14, (224, 224, 3))
    mottled = np.clip(np.array(LIGHT) + noise, 0, 255).astype(np.uint8)
    covered = mottled.copy()
    covered[:, :60] = (60, 55, 75)  # bluish black, 40 % of the ring
    assert typology_angle(covered) == pytest.approx(typology_angle(mottled), abs=3)


def test_pale_skin_in_bluish_light_stays_at_the_light_end():
    bluish = typology_angle(skin((205, 195, 205)))
    assert bluish > 90
    assert tinted([bluish, typology_angle(skin(LIGHT)), None, typology_angle(skin(BROWN))]) == pytest.approx(1 / 3)
    assert tinted([None]) is None


def test_without_skin_there_is_no_angle():
    assert typology_angle(np.zeros((224, 224, 3), np.uint8)) is None
    assert typology_angle(np.full((224, 224, 3), 255, np.uint8)) is None
