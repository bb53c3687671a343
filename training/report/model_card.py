"""The bundle's model card (Mitchell et al. 2019, "Model Cards for Model Reporting") and the figures that it quotes.

The card is generated from `manifest.json` and `metrics.json`, so that it agrees with them.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from training.config import VGG16, VGG16_CHANNELS
from training.data.data_sets import DATA_SETS, NOT_COMMERCIAL, DataSet
from training.errors import TrainingError
from training.evaluation.metrics import HEADLINES
from training.report.card_sections import sections, tables_and_plots
from training.report.tables import with_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CARD = "MODEL_CARD.md"
QUOTED = ("metrics.json", "headlines.csv", "per_class.csv", "curves.png")
FEW = 30
"""The card marks classes with fewer images: their recall is hardly more than an anecdote."""

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_auc": "macro AUC, one against the rest",
    "ece": "expected calibration error, 15 bins",
    "brier": "Brier score, 0 to 2",
    "accuracy_at_80_coverage": "accuracy on the surest 80 %",
    "accuracy_of_classified": "accuracy on what is classified and not referred",
    "set_coverage": "prediction sets that hold the truth",
    "set_size": "mean size of the prediction set",
    "triage_sensitivity": "malignant or pre-malignant that are urgent",
    "triage_specificity": "benign that are routine",
}


def complete_bundle(bundle: Path, evaluation: Path, manifest: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Copies the figures and plots that the card quotes from `evaluation` into `bundle`, and writes the card.

    Only files named here are copied: a bundle is published, and the evaluation's overlays show patients.

    Raises:
        TrainingError: the evaluation is of another bundle.
    """
    if other := {str(own.get("model_version")) for own in metrics.values()} - {manifest["version"]}:
        raise TrainingError(
            f"{evaluation} is of the bundle {other.pop()}, and {bundle} is {manifest['version']}: evaluate this one."
        )
    plots = [f"{kind}-{data}.png" for kind in ("confusion", "reliability") for data in metrics]
    measured = [name for name in tables_and_plots(metrics) if (evaluation / name).exists()]
    # Only training draws curves.png; a bundle that is evaluated again keeps its own.
    quoted = [name for name in QUOTED if (evaluation / name).exists() or not (bundle / name).exists()]
    for name in (*quoted, *plots, *measured):
        shutil.copyfile(evaluation / name, bundle / name)
    (bundle / CARD).write_text(model_card(manifest, metrics), encoding="utf-8")


def model_card(manifest: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The card as Markdown."""
    return "\n".join(
        [
            _details(manifest),
            _use(manifest),
            _data(manifest),
            _figures(manifest, metrics),
            _classes(metrics),
            *sections(metrics),
            _limits(manifest),
        ]
    )


def _details(manifest: dict[str, Any]) -> str:
    training = manifest["training"]
    labels = ", ".join(
        f"{x['code']} ({x['name']}{', malignant' if x['malignant'] else ''})" for x in manifest["labels"]
    )
    return f"""# Model card: {manifest["name"]} {manifest["version"]}

**Research use only. Not a medical device.** The model gives the model's label, never a diagnosis.

## The model

{_convolutions(training["configuration"])}, fine-tuned, under a head of two 1x1 convolutions
  that ends in one map per class and a global average.
  The maps are the explanation (class activation maps, Zhou et al. 2016).
- Input: {manifest["input"]["size"]} x {manifest["input"]["size"]} pixels; {manifest["input"]["resize"]}.
- Labels: {labels}.
  akiec is pre-malignant and counts as malignant.
- Served as an 8-bit ONNX network; its answers do not depend on the processor's instruction set.
- Licence: {training["licence"]}{_because(manifest)}. The software around it is Apache-2.0.
- Made by `{training["command"]}` at commit {training["commit"]} ({training["backend"]}, {training["precision"]}).
{_effort(training)}{_calibrated_again(training)}"""


def _convolutions(configuration: dict[str, Any]) -> str:
    backbone = configuration.get("backbone", VGG16)
    if backbone != VGG16:
        return f"- {backbone}'s convolutions\n  (from keras.applications, which names its paper and licence)"
    share = sum(configuration.get("channels", VGG16_CHANNELS)) / sum(VGG16_CHANNELS)
    pruned = f",\n  pruned to {share:.0%} of their channels (He et al. 2017, Luo et al. 2017)" if share < 1 else ""
    return (
        "- VGG16's convolutions (Simonyan & Zisserman 2014; ImageNet weights by the Visual Geometry Group, University\n"
        f"  of Oxford, CC BY 4.0){pruned}"
    )


def _because(manifest: dict[str, Any]) -> str:
    """The reason why commercial use is excluded, if it is."""
    barred = [own.title for own in _published(manifest) if own.licence == NOT_COMMERCIAL]
    return f", because {' and '.join(barred)} is" if barred else ""


def _published(manifest: dict[str, Any]) -> list[DataSet]:
    return [DATA_SETS[folder] for folder in manifest["training"]["data"] if folder in DATA_SETS]


def _effort(training: dict[str, Any]) -> str:
    if not training.get("seconds"):
        return ""
    machine = training.get("machine", "a machine that was not recorded")
    minutes = training["seconds"] / 60
    took = f"- The training loop took {minutes:.0f} minutes on {machine}; docs/training.md has the other steps.\n"
    teachers = training.get("taught_by", [])
    if not teachers:
        return took
    weights = " and ".join(digest[:12] for digest in teachers)
    return (
        took
        + f"""- It learned the mean probabilities of {len(teachers)} networks, and not the labels
  (distillation of an ensemble: Hinton et al. 2015). They learned from the labels of the same training images. SHA-256
  of their weights: {weights}.
"""
    )


def _calibrated_again(training: dict[str, Any]) -> str:
    own = training.get("calibrated_again")
    if not own:
        return ""
    kinds = f" of {' and '.join(own['kinds'])} images" if any(own["kinds"]) else ""
    return f"""- Temperature and thresholds{kinds} were chosen again by `{own["command"]}` at commit {own["commit"]};
  the network is that of {own["from"]}, and the figures below are only of the images that were given then.
"""


def _use(manifest: dict[str, Any]) -> str:
    barred = "; commercial use (the licence of\n  its training data excludes it)" if _because(manifest) else ""
    return f"""## Intended use

- For: research, teaching, and building software around a classifier of skin images.
- Not for: any decision about a person's health; self-examination{barred}.
- Not for images of: mucosa, nails, wounds, rashes, or anything except a single lesion near the centre of the frame.
  The model knows only its eight labels and has none for "something else".
"""


def _data(manifest: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {source} | {n['train']:,} | {n['calibration']:,} | {n['validation']:,} |"
        for source, n in manifest["training"]["data"].items()
    )
    cited = "".join(
        f"- {folder}: {DATA_SETS[folder].source}\n" for folder in manifest["training"]["data"] if folder in DATA_SETS
    )
    return f"""## Data

| folder | train | calibration | validation |
|---|---:|---:|---:|
{rows}

{cited}- No lesion, patient or identical image is in two splits (`splits.csv`), even across folders.
  Temperatures and thresholds were chosen on the calibration split, limits of image quality on calibration and
  training images. Validation images of an earlier bundle were used for three decisions, each made once: the score of
  the prediction sets, the score for images unlike the training data, and that it may refer 5 % of them
  (docs/decisions.md).
{_joined(manifest["training"])}"""


def _joined(training: dict[str, Any]) -> str:
    pairs = training.get("near_duplicates_joined", {})
    if not pairs:
        return ""
    listed = ", ".join(f"{folders} {count}" for folders, count in pairs.items())
    return (
        f"- Pairs of images of the same lesion with different ids, found by similarity and kept together: {listed}.\n"
    )


def _figures(manifest: dict[str, Any], metrics: dict[str, Any]) -> str:
    quality = "\n".join(
        f"- {name.replace('_', ' ')} {limit['value']:.4f}: {limit['target']}."
        for name, limit in manifest.get("quality", {}).items()
    )
    beside = [
        f"| {source} | {own['n']:,} | {own['accuracy']:.3f} | {own['balanced_accuracy']:.3f} |"
        for source, own in manifest["training"]["calibration_split"].items()
    ]
    return f"""## Figures on the validation split

With 95 % bootstrap intervals over lesions. "all" is dominated by the largest folder: read the folders separately.

{figures_table(metrics, (*HEADLINES, "referred"))}

One split is one random draw. The same network on the calibration split, on which its temperatures and thresholds were
chosen:

| | images | accuracy | balanced accuracy |
|---|---:|---:|---:|
{chr(10).join(beside)}

{_operating_points(manifest)}{quality}

{_parity(manifest["training"]["parity_with_keras"])}"""


def _operating_points(manifest: dict[str, Any]) -> str:
    """Temperature and thresholds, for each kind of image if there are several."""
    kinds = manifest.get("kinds") or {"all images": manifest}
    names = [name for name in manifest["thresholds"] if name != "confidence"]
    head = " | ".join(name.replace("_", " ") for name in names)
    rows = "\n".join(
        f"| {kind} | {own['calibration']['temperature']:.3f} | "
        + " | ".join(f"{own['thresholds'][name]['value']:.4f}" for name in names)
        + " |"
        for kind, own in kinds.items()
    )
    targets = "\n".join(
        f"- {name.replace('_', ' ')}: {threshold['target']}." for name, threshold in manifest["thresholds"].items()
    )
    codes = [label["code"] for label in manifest["labels"]]
    trusted = "\n".join(
        f"| {kind} | " + " | ".join(_trusted(own["thresholds"]["confidence"], code) for code in codes) + " |"
        for kind, own in kinds.items()
    )
    mistaken = manifest["training"].get("kinds_mistaken", {})
    shares = ", ".join(f"{share:.1%} of {source}" for source, share in mistaken.items())
    told = f"The network itself predicts the kind; it mistakes {shares} for another kind.\n\n" if mistaken else ""
    return f"""Temperature (Guo et al. 2017) and thresholds:

| | temperature | {head} |
|---|---:|{"---:|" * len(names)}
{rows}

{told}The least confidence with which it stands by a label:

| | {" | ".join(codes)} |
|---|{"---:|" * len(codes)}
{trusted}

{targets}
"""


def _trusted(confidence: dict[str, Any], code: str) -> str:
    least = confidence["labels"][code] if "labels" in confidence else confidence["value"]  # older bundles have one
    return "never" if least is None else f"{least:.3f}"


def _parity(figures: dict[str, Any]) -> str:
    keras, shipped = figures["balanced_accuracy_keras"], figures["balanced_accuracy_shipped"]
    split, costs = "validation", f"{shipped:.3f} instead of {keras:.3f}"
    if "balanced_accuracy_change" in figures:  # older bundles have less
        change = with_interval(figures, "balanced_accuracy_change")
        before, after = figures["calibration_error_keras"], figures["calibration_error_shipped"]
        split = "calibration"
        costs += f" (change {change}),\nthe expected calibration error {after:.3f} instead of {before:.3f}"
    return f"""Compared with the float Keras network on {figures["images"]:,} {split} images, the shipped one gives the
same label for {figures["same_label"]:.1%}, no probability changes by more than
{figures["largest_probability_change"]:.3f}, and the balanced accuracy is {costs}.
"""


def figures_table(metrics: dict[str, Any], figures: Sequence[str]) -> str:
    """A Markdown table of `figures` for every data folder, with their intervals."""
    names = list(metrics)
    head = "| | " + " | ".join(f"{name}, {metrics[name]['n']:,} images" for name in names) + " |"
    rows = [
        f"| {NAMES.get(figure, figure)} | " + " | ".join(with_interval(metrics[name], figure) for name in names) + " |"
        for figure in figures
    ]
    return "\n".join([head, f"|---|{'---:|' * len(names)}", *rows])


def _classes(metrics: dict[str, Any]) -> str:
    parts = ["## Each class\n"]
    for name, values in metrics.items():
        if name == "all":
            continue
        parts.append(f"{name} ([confusion](confusion-{name}.png), [reliability](reliability-{name}.png)):\n")
        parts.append("| label | images | recall | precision | AUC |\n|---|---:|---:|---:|---:|")
        parts += [
            f"| {code}{' *' if own['n'] < FEW else ''} | {own['n']} | {_number(own['recall'])} | "
            f"{_number(own['precision'])} | {_number(own['auc'])} |"
            for code, own in values["per_class"].items()
        ]
        parts.append("")
    parts.append(f"\\* fewer than {FEW} images: the figure is hardly more than an anecdote.\n")
    return "\n".join(parts)


def _limits(manifest: dict[str, Any]) -> str:
    own = "".join(
        f"- {folder}: {DATA_SETS[folder].limits}\n" for folder in manifest["training"]["data"] if folder in DATA_SETS
    )
    plain = (
        ""
        if manifest["training"]["configuration"]["augmentation"]
        else "\nTrained without augmentation, for comparison.\n"
    )
    return f"""## What the figures do not show

- Other clinics, cameras and countries: on images from elsewhere expect worse.
- Dark skin, if the training images hardly have any: the groups above give their numbers.
{own}- Images without a lesion: the model refers images that are far from its training data (`unlike.csv`, if the
  bundle has it, shows how many of each kind it notices). A skin disease without a label looks similar to the training
  data: expect one of the eight labels.
- [Training curves](curves.png); every figure with its interval in `headlines.csv`, `per_class.csv` and `metrics.json`.
{plain}"""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def regenerated(bundle: Path) -> str:
    """The card that `bundle` should have, from its manifest and metrics."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    return model_card(manifest, metrics)
