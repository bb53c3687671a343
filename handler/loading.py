"""The worker's model, loaded while the rest of the worker is still being imported."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from handler.errors import ConfigurationError
from model_layer import BundleError, Classifier, DecodedImage, DecodingLimits, ImageFacts

if TYPE_CHECKING:
    from concurrent.futures import Future

    from handler.configuration import Settings


def begin_loading(settings: Settings) -> Future[Classifier]:
    """Starts `load` in a thread, while the rest of the worker is still being imported.

    Loading and the first run release the interpreter lock most of the time; importing boto3 and making its clients do
    not. Side by side they save a cold start the shorter of the two.
    """
    thread = ThreadPoolExecutor(1, "load")
    loading = thread.submit(load, settings)
    thread.shutdown(wait=False)
    return loading


def load(settings: Settings) -> Classifier:
    """The model of the bundle that `settings` name, loaded and run once.

    Raises:
        ConfigurationError: the bundle cannot be used.
    """
    limits = DecodingLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    try:
        classifier = Classifier.load(
            settings.model_bundle, limits=limits, threads=settings.inference_threads, keep_file=False
        )
    except BundleError as error:
        raise ConfigurationError(f"MODEL_BUNDLE cannot be used: {error}") from error
    _warm_up(classifier)
    return classifier


def _warm_up(classifier: Classifier) -> None:
    """The first run of a network plans its memory, so that the first upload does not wait for it."""
    size = classifier.bundle.input_size
    classifier.predict([DecodedImage(np.zeros((size, size, 3), np.uint8), ImageFacts("none", size, size))])
