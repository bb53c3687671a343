"""The files of a pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLAN, INDEX = "plan.json", "index.npz"
WEIGHTS, IMAGES = "weights-{}.npz", "images-{:02}.npz"


def images_of(folder: Path) -> list[Path]:
    """The parts with images, in order."""
    return sorted(folder.glob("images-*.npz"))
