"""The form of a bundle's `manifest.json`, schema 1: what `make train` writes and `Bundle.read` reads.

The version is made of the day and a digest of all that an answer depends on: every part except `name`, `known_answer`
and `training`.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class NetworkFields(TypedDict):
    file: str
    """Name of the network file in the bundle's folder."""
    sha256: str
    """Hex digest of that file; a bundle whose file differs is refused."""


class LabelFields(TypedDict):
    code: str
    """What records call the label, such as `mel`."""
    name: str
    """The label in words."""
    malignant: bool
    """Malignant or pre-malignant: counts towards the triage `urgent`."""


class InputFields(TypedDict):
    size: int
    """Side of the network's square input, in pixels, 16 to 2048."""
    resize: str
    """How a file becomes that square, in words; `model_layer.decoding` does it."""
    normalisation: str
    """What happens to the pixels before the network, in words."""


class CalibrationFields(TypedDict):
    temperature: float
    """Logits are divided by this before the softmax; positive."""
    images: NotRequired[int]
    """Calibration images that it was fitted on."""
    method: NotRequired[str]
    """How it was fitted, in words."""
    compared: NotRequired[dict[str, dict[str, float]]]
    """Calibration error and log likelihood of it and of others, each measured on lesions that it was not fitted on."""


class ThresholdFields(TypedDict):
    value: float
    """The threshold."""
    target: str
    """What it was chosen for, in words."""
    score: NotRequired[str]
    """What is measured against it, in words; only of `unlikeness`."""


class ConfidenceFields(TypedDict):
    """`labels`, or in older bundles `value`."""

    labels: NotRequired[dict[str, float | None]]
    """For each label, by its code: below this calibrated confidence an image with it is `referred`; 0 to 1. Null:
    always."""
    value: NotRequired[float]
    """The same for all labels."""
    target: str
    """What it was chosen for, in words."""


class ThresholdsFields(TypedDict):
    confidence: ConfidenceFields
    """Below it an image is `referred`."""
    malignant: ThresholdFields
    """At this summed probability of the malignant labels and above, triage is `urgent`; 0 to 1."""
    prediction_set: ThresholdFields
    """A label is in the set while all likelier ones together have at most this probability; 0 to 1."""
    unlikeness: NotRequired[ThresholdFields]
    """Above this value an image is `referred` as unlike the training images; without it there is no limit."""


class PointFields(TypedDict):
    """One operating point: of all images, or of one kind."""

    calibration: CalibrationFields
    """Temperature, and how it was fitted."""
    thresholds: ThresholdsFields
    """Thresholds, each with the target that it was chosen for."""


class KnownAnswerFields(TypedDict):
    image: str
    """The module that computes the image."""
    probabilities: dict[str, float]
    """Of each label, by its code, as the finished bundle gives them."""


class ManifestFields(PointFields):
    """A whole manifest."""

    schema: int
    """1."""
    name: str
    """Of the bundle; records name it."""
    version: str
    """`<day>-<digest>`; 1 to 100 printable characters without `#`. Part of a record's sort key."""
    network: NetworkFields
    """The network file."""
    labels: list[LabelFields]
    """In the order of the network's outputs; two or more."""
    input: InputFields
    """What the network takes."""
    kinds: NotRequired[dict[str, PointFields]]
    """An operating point for each kind of image, in the order of the network's output `kind`. `calibration` and
    `thresholds` of the manifest are then only for information."""
    quality: NotRequired[dict[str, ThresholdFields]]
    """Limits beyond which a photograph is too poor: any of `side`, `brightness`, `clipped`, `blur`, `detail`."""
    known_answer: NotRequired[KnownAnswerFields]
    """What a new version of the worker must answer before it gets uploads, each probability within 0.02."""
    training: dict[str, Any]
    """How the bundle came about. No answer depends on it, so it is free in form; the fields below are what `make train`
    writes."""


class TrainingFields(TypedDict):
    command: str
    """That made the bundle."""
    commit: str
    """Of the code, with `-dirty` if files had changed."""
    backend: str
    """Keras's backend."""
    precision: str
    """Keras's policy of number formats."""
    seconds: float
    """That training took."""
    machine: str
    """Processor or accelerator, in words."""
    data: dict[str, dict[str, int]]
    """Images of each data folder in each split."""
    near_duplicates_joined: dict[str, int]
    """Pairs of near-duplicates with different ids, by data folder, that were put into one split."""
    pruning_errors: dict[str, float]
    """Relative error of each pruned layer before training; empty: nothing was pruned."""
    taught_by: list[str]
    """SHA-256 of the weights of the networks that taught this one; empty: it learned from labels."""
    started_from: NotRequired[str | None]
    """SHA-256 of the weights of the trained network that it started from; null: it started from published ones."""
    licence: str
    """Of the bundle, as the data's licences demand."""
    history: list[dict[str, Any]]
    """Loss and calibration figures as training went on."""
    logit_adjustment: float
    """How far logits were shifted for rare labels; 0: not at all."""
    calibration_split: dict[str, dict[str, float]]
    """Figures of the served network on the calibration images, by data folder."""
    parity_with_keras: dict[str, Any]
    """How far the served network's answers differ from those of the trained one."""
    kinds_mistaken: NotRequired[dict[str, float]]
    """Share of the calibration images whose kind the network mistook, by data folder."""
    calibrated_again: NotRequired[dict[str, Any]]
    """Where `python -m training calibrate` chose thresholds again: its command and commit, the kinds of image that it
    chose them for, and the version that the network is from."""
    configuration: dict[str, Any]
    """Every setting of the training."""
