"""Labelled images: a folder with `metadata.csv` and `images/<image_id>.jpg`.

`metadata.csv` has the columns `image_id` and `dx`, and `lesion_id` or `patient_id` if a lesion or patient has several
images, in one folder or in several. `kind` says how an image was taken (`dermoscopic`, `clinical`); by default it is
the kind of the published data set, or else the folder's name. Other columns are kept as attributes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model_layer import Label
from training.data.data_sets import DATA_SETS
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABELS = (
    Label("nv", "melanocytic nevus", malignant=False),
    Label("mel", "melanoma", malignant=True),
    Label("bkl", "benign keratosis-like lesion", malignant=False),
    Label("bcc", "basal cell carcinoma", malignant=True),
    Label("akiec", "actinic keratosis or intraepithelial carcinoma", malignant=True),
    Label("scc", "squamous cell carcinoma", malignant=True),
    Label("vasc", "vascular lesion", malignant=False),
    Label("df", "dermatofibroma", malignant=False),
)
"""The eight classes of ISIC 2019. akiec is pre-malignant and counts as malignant."""

ALL = "all"
"""The name of all folders together, in tables."""

CODES = tuple(label.code for label in LABELS)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One row of a folder's metadata."""

    source: str
    """Name of the data folder."""
    kind: str
    """How it was taken; each kind has its own thresholds."""
    image_id: str
    path: Path
    label: int
    """Index into `LABELS`."""
    lesion: str
    """The unit that the bootstrap resamples: the lesion, or else the patient, or else the image itself."""
    groups: tuple[str, ...]
    """Lesion and patient: images that share one of them must be in the same split."""
    attributes: dict[str, str] = field(default_factory=dict, compare=False)


def read_folders(folders: Sequence[Path]) -> list[LabelledImage]:
    """Reads every folder in order.

    Raises:
        TrainingError: a folder, column, label or image is missing, two folders have the same name, or one is `ALL`.
    """
    names = [folder.resolve().name for folder in folders]
    if ALL in names:
        raise TrainingError(f"No data folder may be called {ALL}: tables use this name for the total.")
    if len(set(names)) < len(names):
        raise TrainingError(f"The data folders {names} share a name; rename one, because tables are keyed by it.")
    images = [image for folder in folders for image in read_folder(folder)]
    if not images:
        raise TrainingError("The data folders hold no images.")
    return images


def read_folder(folder: Path) -> list[LabelledImage]:
    """Reads one folder; see `read_folders`."""
    file = folder / "metadata.csv"
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise TrainingError(f"{file} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{file} is not a CSV file in UTF-8: {error}.") from None
    if rows and not {"image_id", "dx"} <= rows[0].keys():
        raise TrainingError(f"{file} needs the columns image_id and dx, but has {', '.join(rows[0])}.")
    source = folder.resolve().name
    return [_image(source, folder, row, line) for line, row in enumerate(rows, start=2)]


def _image(source: str, folder: Path, row: dict[str, str], line: int) -> LabelledImage:
    image_id, dx = row["image_id"], row["dx"]
    if dx not in CODES:
        raise TrainingError(f"{folder / 'metadata.csv'}, line {line}: dx {dx!r} is not one of {', '.join(CODES)}.")
    path = folder / "images" / f"{image_id}.jpg"
    if not path.is_file():
        raise TrainingError(f"{folder / 'metadata.csv'}, line {line}: {path} does not exist.")
    groups = tuple(f"{column}/{row[column]}" for column in ("lesion_id", "patient_id") if row.get(column))
    attributes = {k: v for k, v in row.items() if k not in ("image_id", "dx")}
    lesion = groups[0] if groups else f"{source}/image/{image_id}"
    known = DATA_SETS.get(source)
    kind = row.get("kind") or (known.kind if known else source)
    return LabelledImage(source, kind, image_id, path, CODES.index(dx), lesion, groups, attributes)
