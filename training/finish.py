"""From trained weights to what an answer depends on: balance, export, memory of the training data, operating points.

Everything that is chosen here is chosen on the calibration split and on the network that ships, in 8 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training import calibration
from training.balance import add_to_bias, adjustment, class_shares
from training.bundle_writer import NETWORK_FILE
from training.configurations import by_folder
from training.dataset import LABELS
from training.export import PIXELS, export_onnx, nodes_of
from training.network import CLASS_MAPS, FEATURES, HEAD, build
from training.parity import keras_logits, parity
from training.quantisation import quantise
from training.sampling import EVEN, draw_probabilities
from training.served import Served, serve
from training.splits import CALIBRATION, TRAIN
from training.unlikeness import append_nearest, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.material import Material

UNLIKE_SHARE = 0.05
"""Of the calibration images of the kind that the network finds strangest, at most this share is referred as unlike."""


def finish(whole: keras.Model, material: Material, config: Config, bundle: Path) -> dict[str, Any]:
    """Writes the network file into `bundle`, and returns the manifest's `calibration`, `thresholds` and figures."""
    held = material.rows[CALIBRATION]
    truth, sources = material.labels(held), material.sources(held)
    ranges = material.squares[np.sort(material.drawn(config.quantisation_images, config.seed))]
    network, cache = bundle / NETWORK_FILE, bundle.parent / "cache"

    export(whole, network, ranges)
    answers = serve(network, material.squares, held, "shipped network on calibration images", cache)
    multiple, offset = _balance(answers, material, config)
    add_to_bias(whole, CLASS_MAPS, offset)
    export(whole, network, ranges)
    logits = answers.logits + offset  # the last layer is in float: its bias adds to every logit as it is

    remembered = serve(
        network,
        material.squares,
        np.unique(material.drawn(config.remembered, config.seed, EVEN)),
        "features to remember",
        cache,
    ).features
    append_nearest(network, remembered)
    unlikeness = nearest(answers.features, remembered)

    temperature = calibration.temperature(logits, truth)
    thresholds = calibration.thresholds(calibrated(logits, temperature), truth, LABELS)
    thresholds["unlikeness"] = {
        "value": unlike_threshold(unlikeness, sources),
        "target": f"at most {UNLIKE_SHARE:.0%} of the calibration images of any kind are referred for it",
        "score": "1 less the cosine to the 10th nearest training image, in pooled features of blocks 4 and 5",
    }
    return {
        "calibration": {
            "temperature": temperature,
            "method": "temperature scaling on the calibration split",
            "compared": calibration.compare_scalings(logits, truth, [material.images[i].lesion for i in held]),
        },
        "thresholds": thresholds,
        "figures": {
            "logit_adjustment": multiple,
            "calibration_split": by_folder(logits, held, material),
            "parity_with_keras": _parity(whole, logits, material, config, temperature),
        },
    }


def unlike_threshold(unlikeness: NDArray[np.float64], sources: NDArray[np.str_]) -> float:
    """The least value that at most `UNLIKE_SHARE` of the images of any kind lie above; (n,) scores and kinds.

    An image's own value, not one between two images: of 116, a twentieth are five, and not six.
    """
    return max(
        float(np.quantile(unlikeness[sources == s], 1 - UNLIKE_SHARE, method="higher")) for s in np.unique(sources)
    )


def export(model: keras.Model, file: Path, ranges: NDArray[np.uint8]) -> None:
    """Writes the served network: 8-bit convolutions, the head in float."""
    outputs = {name: model.output[name] for name in (CLASS_MAPS, FEATURES)}
    exported = file.with_suffix(".float.onnx")
    export_onnx(keras.Model(model.input, outputs), exported)
    # The head is 2 % of the work and all of the decision: it stays in float.
    quantise(exported, file, ranges, input_name=PIXELS, keep_float=nodes_of(exported, (HEAD, CLASS_MAPS)))
    exported.replace(file.parent.parent / exported.name)


def _balance(answers: Served, material: Material, config: Config) -> tuple[float, NDArray[np.float64]]:
    held, train = material.rows[CALIBRATION], material.rows[TRAIN]
    drawn = draw_probabilities([material.images[i] for i in train], config.class_power, config.source_share)
    shares = class_shares(drawn, material.labels(train), len(LABELS))
    lesions = [material.images[i].lesion for i in held]
    return adjustment(answers.logits, material.labels(held), material.sources(held), lesions, shares)


def _parity(
    whole: keras.Model,
    shipped: NDArray[np.float64],
    material: Material,
    config: Config,
    temperature: float,
) -> dict[str, Any]:
    """The float network against what the shipped one said of the calibration images."""
    held = material.rows[CALIBRATION]
    network = build(config.size, len(LABELS), **config.architecture)
    network.set_weights(whole.get_weights())
    figures = parity(
        keras_logits(network, material.squares, held),
        shipped,
        material.labels(held),
        [material.images[i].lesion for i in held],
        temperature,
    )
    print(
        f"shipped network beside Keras on {figures['images']} calibration images: same label "
        f"{figures['same_label']:.1%}, balanced accuracy {figures['balanced_accuracy_change']:+.4f}"
    )
    return figures
