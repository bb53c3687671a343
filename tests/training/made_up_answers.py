"""Answers of a made-up model, and images without files, for what is computed from answers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_layer.decision import calibrated, likelier_mass
from training.data.dataset import CODES, LabelledImage
from training.evaluation.metrics import Answers

CLASSES = len(CODES)


def made_up(n: int, seed: int = 0, sharpness: float = 2.0):
    """Logits whose softmax is the truth's own distribution: perfectly calibrated at temperature 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (n, CLASSES))
    probabilities = calibrated(logits, 1.0)
    truth = np.array([rng.choice(CLASSES, p=p) for p in probabilities])
    return logits, probabilities, truth


def answers(probabilities, truth, lesions=None, temperature=1.0) -> Answers:
    """Two images of each lesion, unless told otherwise."""
    own = [f"L{i // 2}" for i in range(len(truth))] if lesions is None else lesions
    return Answers(
        truth=np.asarray(truth),
        probabilities=probabilities,
        in_set=likelier_mass(probabilities) <= 0.9,
        urgent=probabilities[:, 1] > 0.1,
        referred=probabilities.max(axis=1) < 0.5,
        lesions=np.array(own),
        temperatures=np.full(len(truth), temperature),
    )


def image(label: int = 0, lesion: str = "L0", source: str = "derm", **attributes: str) -> LabelledImage:
    return LabelledImage(source, source, f"{lesion}-{label}", Path("nowhere.jpg"), label, lesion, (lesion,), attributes)
