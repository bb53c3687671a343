"""What the classifier makes of images that show no lesion: made-up ones, and a folder of anything else.

`unlike.csv` tells for every kind of image how many the shipped classifier rejects, refers, and refers for being unlike
its training data, real lesions of the validation split beside them. `unlikeness_scores.csv` compares the field's scores
on the same features by the area under the ROC curve, real images against each kind: those of the calibration split, for
the score that ships was chosen by that table.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest, mannwhitneyu

from model_layer import BATCH, Classifier, DecodedImage, Prediction
from training.dataset import read_folders
from training.errors import TrainingError
from training.made_up import made_up
from training.progress import Progress
from training.served import serve
from training.splits import CALIBRATION, TRAIN, VALIDATION, read_splits
from training.unlikeness import scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model_layer import Rejection
    from training.dataset import LabelledImage

MADE_UP = 40
"""Pictures of each made-up kind."""
LEARNED_FROM = 1_000
"""Training images that the compared scores are fitted to."""
UNLIKE = "unlike_training_data"
PHOTOGRAPHS, DISEASES = "other photographs", "other skin diseases"
TOGETHER = "all without a lesion"


@dataclass
class Kind:
    """Images of one kind, and what was said of them."""

    squares: list[NDArray[np.uint8]]
    answers: list[Prediction | Rejection]


def unlike(
    folders: Sequence[Path], bundle: Path, others: Path | None, diseases: Path | None, out: Path, *, images: int
) -> dict[str, Any]:
    """Writes both tables to `out` and returns them; `images` real ones of each data folder and split are looked at.

    `others` holds photographs of anything but skin, `diseases` photographs of skin that none of the labels names.

    Raises:
        TrainingError: `others` or `diseases` holds no file, or the bundle came without its splits, or of other folders.
    """
    out.mkdir(parents=True, exist_ok=True)
    classifier = Classifier.load(bundle)
    data = read_folders(folders)
    splits = read_splits(bundle / "splits.csv")
    if not splits:
        raise TrainingError(f"{bundle} came without splits.csv: which images it has learned from is not known.")
    if missing := sorted({i.source for i in data} - {source for (source, _), s in splits.items() if s == VALIDATION}):
        raise TrainingError(
            f"{bundle} has no validation images of {' or '.join(missing)}: give what it was trained on."
        )
    of_split = {
        s: [i for i in data if splits.get((i.source, i.image_id)) == s] for s in (TRAIN, CALIBRATION, VALIDATION)
    }
    rng = np.random.default_rng(0)

    kinds = {name: _look(classifier, files, name) for name, files in _unlike_files(others).items()}
    nameless = {DISEASES: _look(classifier, _files(diseases), DISEASES)} if diseases else {}
    real: dict[str, dict[str, Kind]] = {VALIDATION: {}, CALIBRATION: {}}
    for split, source in itertools.product(real, sorted({image.source for image in data})):
        own = [image for image in of_split[split] if image.source == source]
        chosen = [own[i] for i in np.sort(rng.permutation(len(own))[:images])]
        files = [image.path.read_bytes() for image in chosen]
        real[split][source] = _look(classifier, files, f"{source}, {split}")

    together = Kind([], [answer for kind in kinds.values() for answer in kind.answers])
    table = [_row(name, kind) for name, kind in (real[VALIDATION] | nameless | kinds | {TOGETHER: together}).items()]
    _write(out / "unlike.csv", table)
    learned = [of_split[TRAIN][i] for i in _some(len(of_split[TRAIN]), rng)]
    compared = _compare(classifier, bundle, learned, real[CALIBRATION], kinds)
    _write(out / "unlikeness_scores.csv", compared)
    for row in table:
        print(f"{row['kind']:22} {row['images']:5}  rejected {row['rejected']:.1%}  referred {row['referred']:.1%}  "
              f"as unlike {row['referred_as_unlike']:.1%}  stood by {row['classified']:.1%}")  # fmt: skip
    return {"kinds": table, "scores": compared}


def _some(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(count)[:LEARNED_FROM])


def _unlike_files(others: Path | None) -> dict[str, list[bytes]]:
    files: dict[str, list[bytes]] = {}
    for name, picture in made_up(MADE_UP):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=90)
        files.setdefault(name, []).append(stream.getvalue())
    if others is not None:
        files[PHOTOGRAPHS] = _files(others)
    return files


def _files(folder: Path) -> list[bytes]:
    """Every image below `folder`; tables beside them are none."""
    found = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".csv"]
    if not found:
        raise TrainingError(f"{folder} holds no file.")
    return found


def _look(classifier: Classifier, files: Sequence[bytes], name: str) -> Kind:
    kind = Kind([], [])
    with Progress(name, len(files)) as progress:
        for start in range(0, len(files), BATCH):
            decoded = [classifier.decode(content) for content in files[start : start + BATCH]]
            good = [one for one in decoded if isinstance(one, DecodedImage)]
            predictions = iter(classifier.predict(good))
            kind.squares += [one.pixels for one in good]
            kind.answers += [next(predictions) if isinstance(one, DecodedImage) else one for one in decoded]
            progress.advance(len(decoded))
    return kind


def _row(name: str, kind: Kind) -> dict[str, Any]:
    count = len(kind.answers)
    statuses = Counter(a.status if isinstance(a, Prediction) else "rejected" for a in kind.answers)
    as_unlike = sum(isinstance(a, Prediction) and any(r.code == UNLIKE for r in a.reasons) for a in kind.answers)
    shares = {status: statuses[status] for status in ("rejected", "referred", "classified")}
    shares["referred_as_unlike"] = as_unlike
    shares["referred_or_3_labels"] = statuses["referred"] + sum(
        isinstance(a, Prediction) and a.status == "classified" and len(a.prediction_set) >= 3 for a in kind.answers
    )
    noticed = binomtest(count - statuses["classified"], count).proportion_ci(method="wilson")  # Wilson 1927
    return {
        "kind": name,
        "images": count,
        **{share: round(number / count, 4) for share, number in shares.items()},
        "not_classified_low_95": round(noticed.low, 4),
        "not_classified_high_95": round(noticed.high, 4),
    }


def _compare(
    classifier: Classifier,
    bundle: Path,
    learned: Sequence[LabelledImage],
    real: dict[str, Kind],
    kinds: dict[str, Kind],
) -> list[dict[str, Any]]:
    """The area under the ROC curve of every score for every kind against all real images."""
    file = bundle / "model.onnx"
    decoded = [classifier.decode(image.path.read_bytes()) for image in learned]
    squares = [one.pixels for one in decoded if isinstance(one, DecodedImage)]

    def features(given: Sequence[NDArray[np.uint8]], what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        served = serve(file, np.stack(given), np.arange(len(given)), what)
        return served.features.astype(np.float64), served.logits

    own_features, own_logits = features(squares, "features of training images")
    groups = np.unique([f"{i.source}/{i.label}" for i in learned], return_inverse=True)[1]
    candidates = scores(own_features, groups, own_logits)
    reference = features([s for kind in real.values() for s in kind.squares], "features of held-out images")
    rows = []
    strange = {name: features(kind.squares, name) for name, kind in kinds.items() if kind.squares}
    for score, of in candidates.items():
        usual = of(*reference)
        areas = {name: float(mannwhitneyu(of(*given), usual).statistic) / len(given[0]) / len(usual)
                 for name, given in strange.items()}  # fmt: skip
        rows.append({"score": score, **{name: round(area, 4) for name, area in areas.items()},
                     "mean": round(float(np.mean(list(areas.values()))), 4)})  # fmt: skip
    return rows


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
