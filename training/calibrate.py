"""The whole of `python -m training calibrate`: the thresholds of a bundle, chosen again on images of one clinic.

A bundle's promises hold for images like those that they were chosen on. At another clinic sets hold the truth less
often, and a label that could be stood by at home may not be (models/README.md). The network need not learn anew for
that: some hundred labelled images of the clinic choose temperature and thresholds that keep their promise there.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer.bundle import Bundle
from training.data.dataset import CODES, read_folders
from training.data.duplicates import near_duplicates
from training.data.material import decoded_squares, pixel_digest
from training.data.splits import CALIBRATION, TRAIN, VALIDATION, grouped, halves, read_splits, unseen, write_rows
from training.errors import TrainingError
from training.evaluate import Extent, evaluate
from training.evaluation.metrics import by_folder
from training.fit.bundle_writer import NETWORK_FILE, QUALITY_FILES, add_known_answer, commit, set_points
from training.fit.operating_point import FEWEST_LESIONS, HeldOut, operating_point
from training.network.served import serve
from training.report.model_card import complete_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage

KEPT = (NETWORK_FILE, "manifest.json", "curves.png", *QUALITY_FILES)
"""What stays true of a bundle with other thresholds."""


def calibrate(folders: Sequence[Path], bundle: Path, out: Path, command: str) -> dict[str, Any]:
    """Writes a bundle with the network of `bundle` to `out/bundle`, and its evaluation to `out/evaluation`.

    Half of the lesions of `folders` choose temperature and thresholds for each kind of image that has enough of them;
    the other half shows what came of it. A kind with too few keeps what it has. Returns the manifest.

    Raises:
        TrainingError: no kind has enough images, the bundle has other labels than the data, or it lies in `out`.
        BundleError: the bundle cannot be used.
    """
    ours, former = out / "bundle", Bundle.read(bundle)
    if ours.resolve() == bundle.resolve():
        raise TrainingError(f"{bundle} would be overwritten: give another OUT.")
    if tuple(label.code for label in former.labels) != CODES:
        raise TrainingError(f"The bundle has other labels than the data, which has {', '.join(CODES)}.")
    images = unseen(read_folders(folders), bundle)
    squares = decoded_squares(images, former.input_size, out / "cache")
    splits = _halves(images, squares, out / "cache")
    rows = np.flatnonzero(splits == CALIBRATION)
    held, kinds = _held_out(former, bundle, images, squares, rows, out / "cache")
    points = _points(former, held, kinds)

    ours.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (bundle / name).exists():
            shutil.copyfile(bundle / name, ours / name)
    known = read_splits(bundle / "splits.csv")
    own = {(i.source, i.image_id): split for i, split in zip(images, splits.tolist(), strict=True)}
    write_rows(ours / "splits.csv", known | own)
    set_points(
        ours,
        points,
        data=_counts(images, splits),
        figures=by_folder(held.logits, held.truth, held.sources),
        origin={"command": command, "commit": commit(), "kinds": list(points), "from": former.version},
    )
    manifest = add_known_answer(ours)
    metrics = evaluate(folders, ours, out / "evaluation", unseen_only=True, extent=Extent(0, 0))
    complete_bundle(ours, out / "evaluation", manifest, metrics)
    return manifest


def _halves(images: Sequence[LabelledImage], squares: NDArray[np.uint8], cache: Path) -> NDArray[np.str_]:
    """(n,) the split of each image; all images of a lesion or patient, near-duplicates too, are in the same one."""
    digests = [pixel_digest(square) for square in squares]
    key = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    groups = grouped(images, digests, near_duplicates(squares, cache / f"duplicates-{key}.npy").tolist())
    if len(np.unique(groups)) < FEWEST_LESIONS:
        raise TrainingError(_too_few(len(np.unique(groups))))
    return np.array(halves(images, groups))


def _held_out(
    former: Bundle,
    bundle: Path,
    images: Sequence[LabelledImage],
    squares: NDArray[np.uint8],
    rows: NDArray[np.int64],
    cache: Path,
) -> tuple[HeldOut, NDArray[np.int64]]:
    """The served network's outputs for the images `rows`, and the kind that it takes each for, as in the bundle."""
    served = serve(bundle / NETWORK_FILE, squares, rows, "calibration images", cache)
    if served.unlikeness is None:
        raise TrainingError(
            f"{former.name} {former.version} is too old: its network does not say how unlike an image is."
        )
    own = [images[i] for i in rows]
    held = HeldOut(
        served.logits,
        np.array([image.label for image in own]),
        np.array([image.source for image in own]),
        [image.lesion for image in own],
        served.unlikeness.astype(np.float64),
    )
    return held, np.zeros(len(rows), dtype=np.int64) if served.kinds is None else served.kinds


def _points(former: Bundle, held: HeldOut, kinds: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """A new operating point for each kind with enough lesions; its name is empty in a bundle without kinds."""
    points, most = {}, 0
    for k, name in enumerate(former.kinds or ("",)):
        lesions = len({lesion for lesion, kind in zip(held.lesions, kinds, strict=True) if kind == k})
        most = max(most, lesions)
        if lesions >= FEWEST_LESIONS:
            points[name] = operating_point(held, kinds == k, name)
    if not points:
        raise TrainingError(_too_few(2 * most))
    return points


def _too_few(lesions: int) -> str:
    return (
        f"Calibration needs {2 * FEWEST_LESIONS} lesions or patients of one kind of image, half of them to check the "
        f"result; here are {lesions}."
    )


def _counts(images: Sequence[LabelledImage], splits: NDArray[np.str_]) -> dict[str, dict[str, int]]:
    sources = np.array([image.source for image in images])
    return {
        source: {name: int(np.sum((sources == source) & (splits == name))) for name in (TRAIN, CALIBRATION, VALIDATION)}
        for source in np.unique(sources).tolist()
    }
