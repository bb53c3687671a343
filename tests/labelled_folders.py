"""Small folders of labelled images whose classes can be told apart by colour, for training tests."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from sample_images import encoded, picture

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {"nv": (120, 80, 60), "mel": (40, 30, 40), "bkl": (190, 150, 90), "bcc": (220, 140, 150)}


def write_labelled_folder(folder: Path, dxs: tuple[str, ...], images: int, seed: int) -> Path:
    """`images` pictures, two of each lesion, tinted by their class."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_id", "dx", "lesion_id", "sex"])
        for i in range(images):
            dx = dxs[(i // 2) % len(dxs)]
            tinted = Image.blend(picture(seed + i), Image.new("RGB", (160, 120), COLOURS[dx]), 0.75)
            (folder / "images" / f"i{i}.jpg").write_bytes(encoded(tinted, "JPEG", quality=90))
            writer.writerow([f"i{i}", dx, f"L{seed}-{i // 2}", rng.choice(["female", "male"])])
    return folder
