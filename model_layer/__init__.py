"""Image bytes in, decision out. Knows no cloud and no training framework.

What other rooms need is exported here. `Classifier.load` reads a bundle; `Classifier.classify` takes the bytes of image
files and returns a `Prediction` or a `Rejection` for each.
"""

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
from model_layer.classifier import BATCH, Classifier
from model_layer.decoding import DecodedImage, DecodingLimits, decode
from model_layer.network import available_cores

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
