"""The model bundle: one folder that holds everything an answer depends on.

`manifest.json` names the network file with its digest, the labels, the input, the calibration and the thresholds;
`model_layer.manifest` has every field.
Loading verifies the digest, and refuses a bundle that does not fit in one sentence.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST_SCHEMA = 1
MAX_VERSION_LENGTH = 100
NEVER = math.inf
"""A threshold of confidence that no image reaches."""
"""Characters. Sort keys of records are `<version of the file>#<version of the model>`; the last `#` separates them."""


class BundleError(UserError):
    """The bundle cannot be used; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Label:
    """One class that the model knows."""

    code: str
    name: str
    malignant: bool
    """Malignant or pre-malignant; counts towards the `urgent` triage."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Temperature and thresholds, chosen on calibration images for the targets that the manifest states."""

    temperature: float
    """Logits are divided by this before the softmax (Guo et al. 2017)."""
    confidence: tuple[float, ...]
    """For each label: below this calibrated confidence an image with it is `referred`; infinite: always."""
    malignant: float
    """At this summed probability of the malignant labels and above, triage is `urgent`."""
    prediction_set: float
    """A label is in the prediction set while all likelier ones together have at most this probability."""
    unlikeness: float | None
    """Above this value of the network's output `unlikeness` an image is `referred`; None: no limit."""

    @classmethod
    def read(cls, own: dict[str, Any], codes: Sequence[str]) -> OperatingPoint:
        """From an object of the manifest with `calibration` and `thresholds`; `codes` are the labels'."""
        thresholds = own["thresholds"]
        return cls(
            temperature=float(own["calibration"]["temperature"]),
            confidence=_confidence(thresholds["confidence"], codes),
            malignant=float(thresholds["malignant"]["value"]),
            prediction_set=float(thresholds["prediction_set"]["value"]),
            unlikeness=float(thresholds["unlikeness"]["value"]) if "unlikeness" in thresholds else None,
        )


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Limits beyond which a photograph is too poor to stand by a label; measures as in `model_layer.quality.Quality`.

    None: no limit was found at which that measure matters.
    """

    side: float | None = None
    """Least shorter side of the file, in pixels."""
    brightness: float | None = None
    """Least mean luma, 0..255."""
    clipped: float | None = None
    """Largest share of overexposed pixels, 0..1."""
    blur: float | None = None
    """Largest blur effect, 0..1."""
    detail: float | None = None
    """Least colour distance between the areas that stand out and their surroundings, in levels."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle; its network file is not parsed yet."""

    name: str
    version: str
    digest: str
    """`sha256:<hex>` of the network file."""
    labels: tuple[Label, ...]
    input_size: int
    """Side of the network's square input, in pixels."""
    kinds: tuple[str, ...]
    """The kinds of image in the network's output `kind`, in its order; empty: the network has no such output."""
    points: tuple[OperatingPoint, ...]
    """One for each kind, or one for all images."""
    quality: QualityLimits | None
    """None: the bundle does not judge photographs."""
    network: bytes
    """The ONNX file's content, exactly the bytes that the digest covers."""
    known_answer: dict[str, float] | None = None
    """The probability of each label for the image of `model_layer.known_answer`; None: the bundle states none."""

    @classmethod
    def read(cls, folder: str | Path) -> Bundle:
        """Reads and verifies `folder`.

        Raises:
            BundleError: a file is missing or unreadable, the digest differs, or the manifest is inconsistent.
        """
        folder = Path(folder)
        manifest = _manifest(folder / "manifest.json")
        try:
            network_file = folder / str(manifest["network"]["file"])
            labels = tuple(Label(str(x["code"]), str(x["name"]), bool(x["malignant"])) for x in manifest["labels"])
            codes = [label.code for label in labels]
            bundle = cls(
                name=str(manifest["name"]),
                version=str(manifest["version"]),
                digest=f"sha256:{manifest['network']['sha256']}",
                labels=labels,
                input_size=int(manifest["input"]["size"]),
                kinds=tuple(manifest.get("kinds", {})),
                points=tuple(OperatingPoint.read(own, codes) for own in manifest.get("kinds", {"": manifest}).values()),
                quality=_quality(manifest),
                network=_network(network_file),
                known_answer=_known_answer(manifest),
            )
        except KeyError as error:
            raise BundleError(f"The manifest in {folder} lacks {error}.") from None
        except (TypeError, ValueError) as error:
            raise BundleError(f"The manifest in {folder} has a value of the wrong kind: {error}.") from None
        bundle.verify()
        return bundle

    def point(self, kind: str | None) -> OperatingPoint:
        """The operating point for images of `kind`, as in a prediction."""
        return self.points[0 if kind is None else self.kinds.index(kind)]

    def verify(self) -> None:
        """Raises BundleError unless digest, version, labels and numbers fit together."""
        actual = f"sha256:{hashlib.sha256(self.network).hexdigest()}"
        if actual != self.digest:
            raise BundleError(
                f"The network of bundle {self.name} {self.version} has digest {actual[:19]}..., "
                f"but its manifest states {self.digest[:19]}...: the file was changed or damaged."
            )
        if not 0 < len(self.version) <= MAX_VERSION_LENGTH or "#" in self.version or not self.version.isprintable():
            raise BundleError(
                f"Bundle {self.name} has version {self.version[:MAX_VERSION_LENGTH]!r}; "
                f"it must be 1 to {MAX_VERSION_LENGTH} printable characters without #."
            )
        codes = [label.code for label in self.labels]
        if len(codes) < 2 or len(set(codes)) < len(codes):
            raise BundleError(f"Bundle {self.name} needs two or more distinct labels, but has {codes}.")
        if not 16 <= self.input_size <= 2048:
            raise BundleError(f"Bundle {self.name} has input size {self.input_size}; 16 to 2048 pixels work.")
        if not self.points:
            raise BundleError(f"Bundle {self.name} has an empty list of kinds; leave it out, or name them.")
        if self.known_answer is not None and set(self.known_answer) != set(codes):
            raise BundleError(f"Bundle {self.name} states its known answer for other labels than its own.")
        for point in self.points:
            self._verify_point(point)

    def _verify_point(self, point: OperatingPoint) -> None:
        if not (math.isfinite(point.temperature) and point.temperature > 0):
            raise BundleError(f"Bundle {self.name} has temperature {point.temperature}; it must be positive.")
        shares = [("confidence", value) for value in point.confidence if value != NEVER]
        for name, value in (*shares, ("malignant", point.malignant), ("prediction_set", point.prediction_set)):
            if not 0 <= value <= 1:
                raise BundleError(f"Bundle {self.name} has threshold {name} = {value}; it must lie in 0..1.")
        if point.unlikeness is not None and not math.isfinite(point.unlikeness):
            raise BundleError(f"Bundle {self.name} has threshold unlikeness = {point.unlikeness}; it must be finite.")


def _confidence(own: dict[str, Any], codes: Sequence[str]) -> tuple[float, ...]:
    if "labels" not in own:
        return (float(own["value"]),) * len(codes)
    return tuple(NEVER if (value := own["labels"][code]) is None else float(value) for code in codes)


def _quality(manifest: dict[str, Any]) -> QualityLimits | None:
    if "quality" not in manifest:
        return None
    return QualityLimits(**{name: float(limit["value"]) for name, limit in manifest["quality"].items()})


def _known_answer(manifest: dict[str, Any]) -> dict[str, float] | None:
    if "known_answer" not in manifest:
        return None
    return {str(code): float(value) for code, value in dict(manifest["known_answer"]["probabilities"]).items()}


def _manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_bytes())
    except OSError as error:
        raise BundleError(f"No bundle can be read at {file.parent}: {error.strerror} ({file.name}).") from None
    except ValueError as error:
        raise BundleError(f"{file} is not valid JSON: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != MANIFEST_SCHEMA:
        raise BundleError(f"{file} is not a manifest of schema {MANIFEST_SCHEMA}, the one that this version reads.")
    return manifest


def _network(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"The bundle's network {file} cannot be read: {error.strerror}.") from None
