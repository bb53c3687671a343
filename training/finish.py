"""From trained weights to what an answer depends on: balance, export, memory of the training data, operating points.

Everything that is chosen here is chosen on the calibration split and on the network that ships, in 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training import calibration
from training.balance import add_to_bias, adjustment, class_shares
from training.bundle_writer import NETWORK_FILE
from training.configurations import by_folder
from training.data_sets import CLINICAL
from training.dataset import LABELS
from training.export import PIXELS, export_onnx, nodes_of
from training.kinds import KindLayer
from training.network import CLASS_MAPS, FEATURES, HEAD, build
from training.parity import keras_logits, parity
from training.quantisation import quantise
from training.sampling import EVEN, draw_probabilities
from training.served import Served, serve
from training.splits import CALIBRATION, TRAIN
from training.unlikeness import append_nearest, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.material import Material

UNLIKE_SHARE = 0.05
"""Of the calibration images of the folder that looks strangest to the network, at most this share is referred."""
KIND_IMAGES = 10_000
"""Training images on which kinds are learned to be told apart."""
ACCURACY_OF_KIND = {CLINICAL: 0.80}
"""Of the labels that the model stands by. A camera shows less than a dermatoscope: at 90 % it would stand by next to
none of its photographs."""
METHOD = "temperature scaling on the calibration split, data folders counting by the square root of their images"
FEWEST_LESIONS = 60
"""In the calibration split, for a kind of image to get an operating point of its own."""


def finish(whole: keras.Model, material: Material, config: Config, bundle: Path) -> dict[str, Any]:
    """Writes the network file into `bundle`, and returns the decisive parts of its manifest and the `figures`."""
    held, train = material.rows[CALIBRATION], material.rows[TRAIN]
    ranges = material.squares[np.sort(material.drawn(config.quantisation_images, config.seed))]
    network, cache = bundle / NETWORK_FILE, bundle.parent / "cache"

    export(whole, network, ranges)
    answers = serve(network, material.squares, held, "shipped network on calibration images", cache)
    multiple, offset = _balance(answers, material, config)
    add_to_bias(whole, CLASS_MAPS, offset)
    export(whole, network, ranges)
    logits = answers.logits + offset  # the last layer is in float: its bias adds to every logit as it is

    drawn = np.unique(material.drawn(config.remembered, config.seed, EVEN))
    remembered = serve(network, material.squares, drawn, "features to remember", cache).features
    append_nearest(network, remembered)
    held_out = HeldOut(
        logits,
        material.labels(held),
        material.sources(held),
        [material.images[i].lesion for i in held],
        nearest(answers.features, remembered),
    )
    decisive = operating_point(held_out, np.ones(len(held), dtype=bool))
    figures: dict[str, Any] = {
        "logit_adjustment": multiple,
        "calibration_split": by_folder(logits, held, material),
        "parity_with_keras": _parity(whole, logits, material, config, decisive["calibration"]["temperature"]),
    }
    if len(np.unique(material.kinds(train))) > 1:
        some = np.random.default_rng(config.seed).permutation(train)[:KIND_IMAGES]
        learned = serve(network, material.squares, np.sort(some), "features to tell kinds apart", cache).features
        layer = KindLayer(learned, material.kinds(np.sort(some)))
        layer.append(network)
        told, true = layer.told(answers.features), material.kinds(held)
        decisive["kinds"] = {name: operating_point(held_out, told == name, name) for name in layer.names}
        figures["kinds_mistaken"] = {
            source: float(np.mean((told != true)[held_out.sources == source])) for source in np.unique(held_out.sources)
        }
    return {**decisive, "figures": figures}


@dataclass(frozen=True)
class HeldOut:
    """What the shipped network says of n calibration images, and what is true of them."""

    logits: NDArray[np.float64]
    """(n, labels)"""
    truth: NDArray[np.int64]
    sources: NDArray[np.str_]
    lesions: Sequence[str]
    unlikeness: NDArray[np.float64]


def operating_point(held: HeldOut, among: NDArray[np.bool_], kind: str = "") -> dict[str, Any]:
    """The manifest's `calibration` and `thresholds`, chosen on the images `among` all; too few of them: on all.

    Data folders count by the square root of their images (`calibration.by_collection`).
    """
    if len({lesion for lesion, one in zip(held.lesions, among, strict=True) if one}) < FEWEST_LESIONS:
        among = np.ones(len(among), dtype=bool)
    logits, truth, sources = held.logits[among], held.truth[among], held.sources[among]
    lesions = [lesion for lesion, one in zip(held.lesions, among, strict=True) if one]
    weights = calibration.by_collection(sources)
    temperature = calibration.temperature(logits, truth, weights)
    accuracy = ACCURACY_OF_KIND.get(kind, calibration.CLASSIFIED_ACCURACY)
    thresholds = calibration.thresholds(calibrated(logits, temperature), truth, LABELS, weights, accuracy)
    thresholds["unlikeness"] = {
        "value": unlike_threshold(held.unlikeness[among], sources),
        "target": f"at most {UNLIKE_SHARE:.0%} of the calibration images of any folder are referred for it",
        "score": "1 less the cosine to the 10th nearest training image, in evened features of blocks 4 and 5",
    }
    return {
        "calibration": {
            "temperature": temperature,
            "images": len(truth),
            "method": METHOD,
            "compared": calibration.compare_scalings(logits, truth, lesions),
        },
        "thresholds": thresholds,
    }


def unlike_threshold(unlikeness: NDArray[np.float64], sources: NDArray[np.str_]) -> float:
    """The least value that at most `UNLIKE_SHARE` of the images of any folder lie above; (n,) scores and folders.

    Folders of which only a few images are here, as when their kind was mistaken, do not count.

    An image's own value, not one between two images: of 116, a twentieth are five, and not six.
    """
    names, counts = np.unique(sources, return_counts=True)
    return max(
        float(np.quantile(unlikeness[sources == s], 1 - UNLIKE_SHARE, method="higher"))
        for s in names[counts >= min(FEWEST_LESIONS, counts.max())]
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
