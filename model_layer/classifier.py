"""Classifies images with a bundle: decode, run the network, decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model_layer.answers import ImageRejectedError, Prediction, Rejection
from model_layer.bundle import Bundle
from model_layer.decision import decide
from model_layer.decoding import DecodedImage, DecodingLimits, decode
from model_layer.network import Network
from model_layer.quality import measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Images for one call of `predict`: enough to keep several cores busy; more would only take memory.
BATCH = 8


class Classifier:
    """A bundle ready to answer. `decode` and `predict` may be called from several threads."""

    def __init__(self, bundle: Bundle, network: Network, limits: DecodingLimits) -> None:
        """`bundle` has the thresholds, `network` runs its network file, `limits` bound the decoding."""
        self.bundle = bundle
        self.limits = limits
        self._network = network

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        limits: DecodingLimits | None = None,
        threads: int | None = None,
        keep_file: bool = True,
    ) -> Classifier:
        """Reads, verifies and parses the bundle in `folder`, for `threads` cores (default: all).

        Without `keep_file` the network file's content is released once it is parsed.

        Raises:
            BundleError: with one sentence, when the bundle does not fit.
        """
        bundle = Bundle.read(folder)
        network = Network(bundle, threads)
        return cls(bundle if keep_file else replace(bundle, network=b""), network, limits or DecodingLimits())

    def classify(self, images: Sequence[bytes]) -> list[Prediction | Rejection]:
        """Answers for each file's content, in order; a bad image is a `Rejection` and does not affect the others."""
        decoded = [self.decode(data) for data in images]
        good = [image for image in decoded if isinstance(image, DecodedImage)]
        predictions = iter([p for i in range(0, len(good), BATCH) for p in self.predict(good[i : i + BATCH])])
        return [image if isinstance(image, Rejection) else next(predictions) for image in decoded]

    def decode(self, data: bytes) -> DecodedImage | Rejection:
        """One file's pixels for the network, or why there are none."""
        try:
            return decode(data, self.bundle.input_size, self.limits)
        except ImageRejectedError as error:
            return Rejection(error.code, error.facts, error.detail)

    def predict(self, images: Sequence[DecodedImage]) -> list[Prediction]:
        """Predictions for `images`, at most about `BATCH`, on all of the network's cores."""
        if not images:
            return []
        outputs = self._network.run(np.stack([image.pixels for image in images]))
        judged = self.bundle.quality is not None
        qualities = [measure(image.pixels) if judged else None for image in images]
        facts = [image.facts for image in images]
        return decide(self.bundle, outputs, list(zip(facts, qualities, strict=True)))
