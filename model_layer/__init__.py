"""Image bytes in, decision out. Knows no cloud and no training framework."""

from model_layer.answers import Heatmap, Prediction, Reason, Rejection
from model_layer.bundle import Bundle, BundleError, Label
from model_layer.classifier import BATCH, Classifier
from model_layer.decoding import DecodedImage, DecodingLimits
from model_layer.facts import ImageFacts

__all__ = [
    "BATCH",
    "Bundle",
    "BundleError",
    "Classifier",
    "DecodedImage",
    "DecodingLimits",
    "Heatmap",
    "ImageFacts",
    "Label",
    "Prediction",
    "Reason",
    "Rejection",
]
