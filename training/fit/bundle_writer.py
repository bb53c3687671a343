"""Writes a bundle's manifest; `training.report.model_card` adds the figures and the card."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_layer import Classifier
from model_layer.bundle import MANIFEST_SCHEMA
from model_layer.known_answer import known_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_layer import Label
    from training.config import Config

NETWORK_FILE = "model.onnx"
DECISIVE = ("network", "labels", "input", "calibration", "thresholds", "kinds", "quality")
"""The parts of a manifest that answers depend on; the version is a digest of them."""
QUALITY_FILES = ("quality.csv", "quality_flagged.csv", "quality.png")
RESIZE_RULE = "first frame, upright, centre square, sRGB, antialiased bicubic (model_layer.decoding)"
NORMALISATION = "none outside the network: it takes RGB bytes and subtracts ImageNet's mean itself"


def write_manifest(
    folder: Path,
    *,
    labels: Sequence[Label],
    config: Config,
    decisive: dict[str, Any],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Writes `manifest.json` beside the network in `folder` and returns it; `decisive` has calibration and thresholds.

    The version has the day and a digest of the network and everything else that answers depend on.
    """
    digest = hashlib.sha256((folder / NETWORK_FILE).read_bytes()).hexdigest()
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "name": f"{config.backbone.lower()}-skin",
        "version": "",
        "network": {"file": NETWORK_FILE, "sha256": digest},
        "labels": [{"code": x.code, "name": x.name, "malignant": x.malignant} for x in labels],
        "input": {"size": config.size, "resize": RESIZE_RULE, "normalisation": NORMALISATION},
        **decisive,
        "training": {**training, "configuration": config.as_json()},
    }
    return _write(folder, manifest)


def add_quality(folder: Path, limits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Puts limits of image quality, each with `value` and `target`, into the manifest in `folder`; returns it."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    history = manifest.pop("training")  # the longest part stays last
    return _write(folder, {**manifest, "quality": limits, "training": history})


def set_points(
    folder: Path,
    points: dict[str, dict[str, Any]],
    *,
    data: dict[str, dict[str, int]],
    figures: dict[str, Any],
    origin: dict[str, Any],
) -> dict[str, Any]:
    """Replaces operating points in the manifest in `folder` by their kind, and returns it.

    The kind is empty where the bundle has none. `data` has the images of each folder in each split, `figures` the
    folders' figures on the calibration split, and `origin` says how the points came about.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    history = manifest.pop("training")
    for kind, point in points.items():
        (manifest["kinds"][kind] if kind else manifest).update(point)
    history["data"] |= data
    history["calibration_split"] |= figures
    history["calibrated_again"] = origin
    return _write(folder, {**manifest, "training": history})


def add_known_answer(folder: Path) -> dict[str, Any]:
    """Puts the bundle's answer to the image of `model_layer.known_answer` into the manifest in `folder`; returns it.

    No answer depends on it, so the version stays as it is.
    """
    answer = known_answer(Classifier.load(folder, keep_file=False))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    history = manifest.pop("training")
    stated = {"image": "model_layer.known_answer", "probabilities": {k: round(v, 6) for k, v in answer.items()}}
    manifest = {**manifest, "known_answer": stated, "training": history}
    _write_file(folder, manifest)
    return manifest


def copy_quality(folder: Path, bundle: Path) -> None:
    """Copies the tables and the plot behind the limits from a study's `folder` into `bundle`."""
    for name in QUALITY_FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, bundle / name)


def _write(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    decisive = {name: manifest[name] for name in DECISIVE if name in manifest}
    content = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    manifest["version"] = f"{datetime.now(UTC):%Y.%m.%d}-{content[:8]}"
    _write_file(folder, manifest)
    return manifest


def _write_file(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def commit() -> str:
    """The commit of the training code, with `-dirty` if files have changed; `unknown` outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
