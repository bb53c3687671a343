"""Figures for groups of people: by sex, age, body site, recorded skin type or tone, and estimated tone.

A group needs at least `FEWEST` lesions. With 30, a share near 0.75 has an interval of about 0.15 either way: enough to
see a group for which the model fails, not enough to rank groups. With fewer, chance would look like unfairness, or like
fairness, so such groups get their counts and a note instead of figures. Each figure counts its own lesions:
for sensitivity these are the malignant ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.dataset import LABELS
from training.data.skin_tone import TONES, tone
from training.evaluation.bootstrap import RESAMPLES, estimate, lesion_weights, mean_recall, rank_correlation, shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage
    from training.evaluation.metrics import Answers

FEWEST = 30
"""A figure is given from this many lesions."""
NOT_RECORDED = "not recorded"
SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
AGES = ((30, "under 30"), (50, "30 to 49"), (70, "50 to 69"))
OLDEST = "70 and over"
FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "triage_sensitivity",
    "triage_specificity",
    "referred",
    "set_coverage",
)
_MALIGNANT = np.array([label.malignant for label in LABELS])


def subgroups(
    images: Sequence[LabelledImage], answers: Answers, angles: Sequence[float | None]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Attribute to group to figures, over images of one folder that were not rejected.

    `answers` has a row for each of `images`; `angles` are their typology angles in degrees. A group without figures
    has a `note`. Attributes that no image has are left out.
    """
    return {
        attribute: {name: figures_of(answers[np.asarray(rows)]) for name, rows in _rows(values, order).items()}
        for attribute, (values, order) in _attributes(images, angles).items()
        if any(value not in (None, NOT_RECORDED) for value in values)
    }


def figures_of(answers: Answers) -> dict[str, Any]:
    """Counts, every figure of `FIGURES` with its `_ci`, and a `note` on the figures that the group is too small for."""
    truth, lesions = answers.truth, answers.lesions
    right = answers.probabilities.argmax(axis=1) == truth
    malignant = _MALIGNANT[truth]
    counts = {"lesions": _count(lesions), "malignant_lesions": _count(lesions[malignant])}
    benign = _count(lesions[~malignant])
    own: dict[str, Any] = {"images": len(truth), **counts, "classes": len(np.unique(truth))}
    enough = dict.fromkeys(FIGURES, counts["lesions"])
    enough |= {"triage_sensitivity": counts["malignant_lesions"], "triage_specificity": benign}
    if counts["lesions"] >= FEWEST:
        weights = lesion_weights(lesions)
        drawn = {
            "accuracy": shares(weights, right),
            "balanced_accuracy": mean_recall(weights, right, truth),
            "triage_sensitivity": shares(weights, answers.urgent, malignant),
            "triage_specificity": shares(weights, ~answers.urgent, ~malignant),
            "referred": shares(weights, answers.referred),
            "set_coverage": shares(weights, answers.in_set[np.arange(len(truth)), truth]),
        }
    for figure in FIGURES:
        known = enough[figure] >= FEWEST
        # The rule of three is for shares; balanced accuracy is a mean over classes.
        lesions_of_share = None if figure == "balanced_accuracy" else enough[figure]
        own[figure], own[f"{figure}_ci"] = estimate(drawn[figure], lesions_of_share) if known else (None, None)
    own["note"] = _note(counts["lesions"], counts["malignant_lesions"], benign)
    return own


def agreement(images: Sequence[LabelledImage], angles: Sequence[float | None]) -> dict[str, Any] | None:
    """Agreement of estimated tone and recorded type: Spearman's rank correlation over the images that have both.

    -1 is perfect agreement (a higher type is darker, a higher angle lighter), 0 is none. None with fewer than `FEWEST`
    images, or if all have the same type.
    """
    both = [
        (SKIN_TYPES.index(kind), angle, image.lesion)
        for image, angle in zip(images, angles, strict=True)
        if (kind := skin_type(image)) != NOT_RECORDED and angle is not None
    ]
    if len(both) < FEWEST:
        return None
    types, tones, lesions = (np.array(column) for column in zip(*both, strict=True))
    weights = lesion_weights(lesions)[: 1 + RESAMPLES // 4]  # ranking is slow; a quarter is enough
    rows = [np.repeat(np.arange(len(types)), w.astype(int)) for w in weights]
    value, ci = estimate(np.array([rank_correlation(types[r], tones[r]) for r in rows]))
    return None if value is None else {"images": len(both), "spearman": value, "spearman_ci": ci}


def sex(image: LabelledImage) -> str:
    """The recorded sex."""
    return _recorded(image, "sex")


def age_band(image: LabelledImage) -> str:
    """The band of the recorded age in years."""
    try:
        age = float(image.attributes.get("age") or "nan")
    except ValueError:
        return NOT_RECORDED
    return NOT_RECORDED if np.isnan(age) else next((name for under, name in AGES if age < under), OLDEST)


def skin_type(image: LabelledImage) -> str:
    """The recorded Fitzpatrick type, I to VI."""
    recorded = image.attributes.get("fitzpatrick") or ""
    number = recorded.strip().removesuffix(".0")
    if number in SKIN_TYPES:
        return number
    return SKIN_TYPES[int(number) - 1] if number.isdigit() and 1 <= int(number) <= 6 else NOT_RECORDED


def _attributes(
    images: Sequence[LabelledImage], angles: Sequence[float | None]
) -> dict[str, tuple[list[str | None], tuple[str, ...]]]:
    """For each attribute its value for every image (None: left out), and the order of its groups."""
    types = [skin_type(image) for image in images]
    tones = [
        None if kind != NOT_RECORDED or angle is None else tone(angle)
        for kind, angle in zip(types, angles, strict=True)
    ]
    return {
        "sex": ([sex(image) for image in images], ()),
        "age": ([age_band(image) for image in images], (*(name for _, name in AGES), OLDEST)),
        "site": ([_recorded(image, "localization") for image in images], ()),
        "skin_type": (list(types), SKIN_TYPES),
        "recorded_tone": ([_recorded(image, "skin_tone") for image in images], ()),
        "skin_tone": (tones, TONES),
    }


def _rows(values: Sequence[str | None], order: Sequence[str]) -> dict[str, list[int]]:
    """Group to row numbers, sorted by `order` or else by name; `NOT_RECORDED` comes last."""
    found = {value for value in values if value is not None}
    ranked = sorted(found, key=lambda v: (v == NOT_RECORDED, order.index(v) if v in order else -1, v))
    return {name: [k for k, value in enumerate(values) if value == name] for name in ranked}


def _recorded(image: LabelledImage, column: str) -> str:
    value = (image.attributes.get(column) or "").strip().lower()
    return NOT_RECORDED if value in ("", "unknown") else value


def _count(lesions: NDArray[np.str_]) -> int:
    return len(np.unique(lesions))


def _note(lesions: int, malignant: int, benign: int) -> str:
    if lesions < FEWEST:
        return f"Too small to say anything: {lesions} {'lesion' if lesions == 1 else 'lesions'}, under {FEWEST}."
    few = {"sensitivity": (malignant, "malignant"), "specificity": (benign, "benign")}
    few = {figure: counted for figure, counted in few.items() if counted[0] < FEWEST}
    if not few:
        return ""
    counts = " and ".join(f"{n} {kind}" for n, kind in few.values())
    return f"Nothing can be said of its {' and '.join(few)}: it has {counts} lesions, under {FEWEST}."
