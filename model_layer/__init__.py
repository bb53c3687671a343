"""Image bytes in, decision out. Knows no cloud and no training framework.

What other rooms need is exported here. `Classifier.load` reads a bundle; `Classifier.classify` takes the bytes of image
files and returns a `Prediction` or a `Rejection` for each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from model_layer.answers import (
    Code,
    Heatmap,
    ImageFacts,
    ImageRejectedError,
    Prediction,
    Reason,
    ReferralCode,
    Rejection,
    RejectionCode,
    Status,
)
from model_layer.bundle import Bundle, BundleError, Label
from model_layer.cores import available_cores

if TYPE_CHECKING:
    from model_layer.classifier import BATCH, Classifier
    from model_layer.decoding import DecodedImage, DecodingLimits, decode

__all__ = [
    "BATCH",
    "Bundle",
    "BundleError",
    "Classifier",
    "Code",
    "DecodedImage",
    "DecodingLimits",
    "Heatmap",
    "ImageFacts",
    "ImageRejectedError",
    "Label",
    "Prediction",
    "Reason",
    "ReferralCode",
    "Rejection",
    "RejectionCode",
    "Status",
    "available_cores",
    "decode",
]

# Imported at their first use, so that a program that only reads or erases records loads no decoder and no network.
_LATER = {
    "BATCH": "model_layer.classifier",
    "Classifier": "model_layer.classifier",
    "DecodedImage": "model_layer.decoding",
    "DecodingLimits": "model_layer.decoding",
    "decode": "model_layer.decoding",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
