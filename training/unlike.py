"""The whole of `python -m training unlike`: the classifier's answers to images that show no lesion.

`unlike.csv` has a row for every kind of image, and for real lesions of the validation split: how many the classifier
rejects, refers, and refers as unlike its training data. `unlikeness_scores.csv` compares the scores of
`training.network.unlikeness` by the area under the ROC curve, each kind against real images. These are images of the
calibration split, because the served score was chosen by this table.
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
from training.data.dataset import read_folders
from training.data.made_up import made_up
from training.data.splits import CALIBRATION, TRAIN, VALIDATION, read_splits
from training.errors import TrainingError
from training.network.served import serve
from training.network.unlikeness import scores
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model_layer import Rejection
    from training.data.dataset import LabelledImage

MADE_UP = 40
"""Number of pictures of each made-up kind."""
LEARNED_FROM = 1_000
"""Number of training images that the scores are fitted to."""
UNLIKE = "unlike_training_data"
PHOTOGRAPHS, DISEASES = "other photographs", "other skin diseases"
TOGETHER = "all without a lesion"


@dataclass
class Kind:
    """Images of one kind with their answers."""

    squares: list[NDArray[np.uint8]]
    answers: list[Prediction | Rejection]


def unlike(
    folders: Sequence[Path], bundle: Path, others: Path | None, diseases: Path | None, out: Path, *, images: int
) -> dict[str, Any]:
    """Writes both tables to `out` and returns them. `images` is the number of real images per data folder and split.

    `others` has photographs of anything except skin, `diseases` photographs of skin diseases without a label.

    Raises:
        TrainingError: `others` or `diseases` is empty, or the bundle has no splits of these folders.
    """
    out.mkdir(parents=True, exist_ok=True)
    classifier = Classifier.load(bundle)
    data = read_folders(folders)
    splits = read_splits(bundle / "splits.csv")
    if not splits:
        raise TrainingError(f"{bundle} has no splits.csv, so it is not known which images it has learned from.")
    if missing := sorted({i.source for i in data} - {source for (source, _), s in splits.items() if s == VALIDATION}):
        raise TrainingError(
            f"{bundle} has no validation images of {' or '.join(missing)}: give the folders it was trained on."
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
    """The content of every file below `folder` except CSV tables."""
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
    """The area under the ROC curve of every score, each kind against all real images."""
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
