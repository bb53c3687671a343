"""The random views of `training.data.augmentation`, computed on the accelerator.

Geometry, colours and mixup are new for every view. Blur, lost resolution, shades of grey and compression come from
copies of each image that were spoiled beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from training.data.augmentation import CONTRAST, FROM_YIQ, HUE, LIGHT, OFF_CENTRE, SATURATION, TINT, TO_YIQ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax import Array


@dataclass(frozen=True)
class ViewOptions:
    """What a stage asks of its views; see `training.config`."""

    size: int
    field: tuple[float, float]
    strength: float
    mixup: float


def views(
    copies: Sequence[Array], rows: Array, targets: Array, key: Array, options: ViewOptions
) -> tuple[Array, Array]:
    """Pixels (batch, size, size, 3) and label shares (batch, labels) of the images `rows` (batch,).

    Each of `copies`, from `training.accelerator.spoil`, supplies an equal part of the batch. `targets` (n, labels) has
    each image's label.
    """
    parts = jnp.split(rows, len(copies))
    words = jnp.concatenate([copy[part] for copy, part in zip(copies, parts, strict=True)])
    place, colour, mix = jax.random.split(key, 3)
    side = round(words.shape[1] ** 0.5)
    pixels = resampled(words, *geometry(place, len(rows), side, options), options.size)
    pixels = _recoloured(pixels, colour, options.strength)
    return _mixed(pixels, targets[rows], mix, options.mixup)


def geometry(key: Array, count: int, side: int, options: ViewOptions) -> tuple[Array, Array]:
    """Random affine maps from a view to its image: matrices (count, 2, 2) and offsets (count, 2), x before y."""
    zoom, turn, mirror, move = jax.random.split(key, 4)
    shown = side * jax.random.uniform(zoom, (count,), minval=options.field[0], maxval=options.field[1])
    angle = jax.random.uniform(turn, (count,), maxval=2 * np.pi)
    flip = jnp.where(jax.random.bernoulli(mirror, 0.5, (count,)), 1.0, -1.0)
    room = jnp.maximum(0, side - shown) / 2 * OFF_CENTRE
    middle = side / 2 + room[:, None] * jax.random.uniform(move, (count, 2), minval=-1.0)
    cos, sin = jnp.cos(angle) * shown / options.size, jnp.sin(angle) * shown / options.size
    matrix = jnp.stack([jnp.stack([flip * cos, -sin], -1), jnp.stack([flip * sin, cos], -1)], -2)
    return matrix, middle - matrix.sum(-1) * options.size / 2


def resampled(words: Array, matrix: Array, offset: Array, size: int) -> Array:
    """Levels (n, size, size, 3) of the packed images (n, side * side), bicubic, reflected beyond the edges.

    The kernel (a = -1) and the rounding down are those of Pillow's affine transform.
    """
    side = round(words.shape[1] ** 0.5)
    centres = jnp.arange(size) + 0.5
    x = (
        matrix[:, 0, 0, None, None] * centres
        + matrix[:, 0, 1, None, None] * centres[:, None]
        + offset[:, 0, None, None]
    )
    y = (
        matrix[:, 1, 0, None, None] * centres
        + matrix[:, 1, 1, None, None] * centres[:, None]
        + offset[:, 1, None, None]
    )
    left, top = jnp.floor(x - 0.5), jnp.floor(y - 0.5)
    across, down = _cubic(x - 0.5 - left), _cubic(y - 0.5 - top)
    total = jnp.zeros((*x.shape, 3))
    for i in range(4):
        row = _reflected(top.astype(jnp.int32) + i - 1, side) * side
        line = jnp.zeros_like(total)
        for j in range(4):
            place = row + _reflected(left.astype(jnp.int32) + j - 1, side)
            word = jnp.take_along_axis(words, place.reshape(len(words), -1), axis=1).reshape(place.shape)
            levels = jnp.stack([word & 255, word >> 8 & 255, word >> 16], -1).astype(jnp.float32)
            line += across[j][..., None] * levels
        total += down[i][..., None] * line
    return jnp.clip(jnp.floor(total), 0, 255)


def _cubic(d: Array) -> tuple[Array, Array, Array, Array]:
    """Weights of the four neighbours at distance `d` (0 to 1) from the second."""
    square, cube = d * d, d * d * d
    return -d + 2 * square - cube, 1 - 2 * square + cube, d + square - cube, cube - square


def _reflected(position: Array, side: int) -> Array:
    period = 2 * (side - 1)
    inside = jnp.abs(position) % period
    return jnp.where(inside < side, inside, period - inside)


def _recoloured(pixels: Array, key: Array, strength: float) -> Array:
    """Changes brightness, contrast, saturation, hue and the light's colour as `training.data.augmentation` does."""
    count = len(pixels)
    uniform = partial(jax.random.uniform, shape=(count,))
    keys = jax.random.split(key, 5)
    hue = uniform(keys[0], minval=-HUE, maxval=HUE) * strength
    saturation = 1 + uniform(keys[1], minval=-SATURATION, maxval=SATURATION) * strength
    light = uniform(keys[2], minval=-LIGHT, maxval=LIGHT)[:, None] + TINT * jax.random.normal(keys[3], (count, 3))
    light = jnp.exp(light * strength)
    contrast = 1 + uniform(keys[4], minval=CONTRAST[0], maxval=CONTRAST[1]) * strength
    cos, sin = saturation * jnp.cos(hue), saturation * jnp.sin(hue)
    zero, one = jnp.zeros(count), jnp.ones(count)
    chroma = jnp.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).reshape(count, 3, 3)
    turned = jnp.asarray(FROM_YIQ) @ chroma @ jnp.asarray(TO_YIQ)
    matrix = contrast[:, None, None] * light[:, :, None] * turned
    offset = ((1 - contrast) * pixels.mean((1, 2, 3)))[:, None] * light
    exact = jnp.einsum("nijc,ndc->nijd", pixels, matrix, precision="highest")
    return jnp.clip(jnp.round(exact + offset[:, None, None]), 0, 255)


def _mixed(pixels: Array, targets: Array, key: Array, alpha: float) -> tuple[Array, Array]:
    """Mixup, as in `training.data.batches`."""
    if alpha <= 0:
        return pixels, targets
    shares, order = jax.random.split(key)
    share = jax.random.beta(shares, alpha, alpha, (len(pixels), 1))
    share = jnp.maximum(share, 1 - share)
    other = jax.random.permutation(order, len(pixels))
    own = share[:, :, None, None]
    return own * pixels + (1 - own) * pixels[other], share * targets + (1 - share) * targets[other]
