"""Each measure answers to its own fault, and leaves a photograph alone that has another."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from model_layer.quality import measure

SIDE = 224


@pytest.fixture(scope="module")
def lesion() -> np.ndarray:
    """A dark, sharply bounded spot with a texture on skin."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    spot = np.hypot(rows - 112, columns - 112) < 45
    pixels = np.where(spot[..., None], (90, 60, 50), (200, 160, 140)) + rng.normal(0, 6, (SIDE, SIDE, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def changed(pixels: np.ndarray, change) -> np.ndarray:
    return np.rint(np.clip(change(pixels.astype(float)), 0, 255)).astype(np.uint8)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def test_known_pictures_have_known_values():
    grey = measure(np.full((SIDE, SIDE, 3), 77, np.uint8))
    assert grey.brightness == pytest.approx(77)
    assert (grey.clipped, grey.blur, grey.detail) == (0, 1, 0)
    half = np.zeros((SIDE, SIDE, 3), np.uint8)
    half[:56] = (255, 0, 0)  # a quarter of the picture is pure red: its red is clipped, its luma is not
    assert measure(half).clipped == pytest.approx(0.25)
    assert measure(half).brightness == pytest.approx(255 * 0.299 / 4, abs=0.1)
    assert measure(half).detail == pytest.approx(255)


def test_brightness_falls_with_the_light_and_clipping_rises_with_it(lesion):
    levels = [measure(changed(lesion, lambda p, f=f: p * f)) for f in (0.1, 0.5, 1.0, 1.5, 3.0)]
    assert [q.brightness for q in levels] == sorted(q.brightness for q in levels)
    assert [q.clipped for q in levels[:3]] == [0, 0, 0]
    assert 0.5 < levels[3].clipped <= levels[4].clipped


def test_blur_rises_with_blurring_and_not_with_darkness_or_low_contrast(lesion):
    effects = [measure(blurred(lesion, sigma)).blur for sigma in (0, 1, 2, 4, 8)]
    assert effects == sorted(effects)
    assert effects[0] < 0.4
    assert effects[3] > 0.6
    assert measure(changed(lesion, lambda p: p * 0.4)).blur == pytest.approx(effects[0], abs=0.05)
    assert measure(changed(lesion, lambda p: 128 + (p - 128) * 0.4)).blur == pytest.approx(effects[0], abs=0.05)


def test_camera_shake_counts_although_it_blurs_one_direction_alone(lesion):
    shaken = np.mean([np.roll(lesion, k, axis=1) for k in range(15)], axis=0).astype(np.uint8)
    assert measure(shaken).blur > measure(lesion).blur + 0.2
    assert measure(np.ascontiguousarray(shaken.swapaxes(0, 1))).blur == pytest.approx(measure(shaken).blur)


def test_a_smooth_slope_is_blurred_although_rounding_gives_it_steps_and_faint_texture_is_sharp():
    rows, columns = np.mgrid[:SIDE, :SIDE]
    slope = np.repeat((60 + 0.3 * rows + 0.3 * columns).astype(np.uint8)[..., None], 3, axis=2)
    assert measure(slope).blur > 0.9
    texture = 150 + np.random.default_rng(0).normal(0, 3, (SIDE, SIDE, 1))
    assert measure(np.repeat(texture, 3, axis=2).astype(np.uint8)).blur < 0.4


def test_detail_is_of_a_lesions_size_and_neither_a_hairs_nor_noise(lesion):
    skin = np.full((SIDE, SIDE, 3), (200, 160, 140), np.uint8)
    hair = skin.copy()
    hair[:, 100:102] = (40, 30, 30)
    noise = np.clip(skin + np.random.default_rng(1).normal(0, 20, skin.shape), 0, 255).astype(np.uint8)
    small = skin.copy()
    small[90:140, 90:140] = (90, 60, 50)  # a lesion of a fifth of the frame's side
    assert measure(lesion).detail > 100
    assert measure(small).detail > 100
    assert measure(noise).detail < 10
    bubble = skin.copy()
    bubble[98:110, 98:110] = 0
    assert measure(hair).detail < 40
    assert measure(bubble).detail < 25
    faded = changed(lesion, lambda p: p.mean(axis=(0, 1)) + (p - p.mean(axis=(0, 1))) * 0.1)
    assert measure(faded).detail == pytest.approx(measure(lesion).detail / 10, rel=0.2)


@pytest.mark.parametrize("side", [32, 33, 224, 500])
def test_any_side_that_a_bundle_may_have(side, lesion):
    scaled = np.asarray(Image.fromarray(lesion).resize((side, side)))
    assert measure(scaled).brightness == pytest.approx(measure(lesion).brightness, abs=2)
    assert 0 <= measure(scaled).blur <= 1
    assert measure(np.full((side, side, 3), 255, np.uint8)).brightness == pytest.approx(255)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((SIDE, SIDE), np.uint8),
        np.zeros((SIDE, SIDE, 4), np.uint8),
        np.zeros((SIDE, SIDE, 3), np.float32),
        np.zeros((16, 16, 3), np.uint8),
    ],
)
def test_what_is_no_square_of_pixels_is_refused(pixels):
    with pytest.raises(ValueError, match="side, side, 3"):
        measure(pixels)
