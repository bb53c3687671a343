"""From trained weights to the served network: logit adjustment, export, unlikeness, kinds, operating points.

Everything is chosen on the calibration split, with the outputs of the served 8-bit network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.data.dataset import LABELS
from training.data.sampling import EVEN, draw_probabilities
from training.data.splits import CALIBRATION, TRAIN
from training.evaluation.metrics import by_folder
from training.fit.balance import add_to_bias, adjustment, class_shares
from training.fit.bundle_writer import NETWORK_FILE
from training.fit.operating_point import HeldOut, operating_point
from training.fit.parity import keras_logits, parity
from training.network.architecture import CLASS_MAPS, FEATURES, HEAD, build
from training.network.export import PIXELS, export_onnx, nodes_of
from training.network.kinds import KindLayer
from training.network.quantisation import quantise
from training.network.served import Served, serve
from training.network.unlikeness import append_nearest, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.data.material import Material

KIND_IMAGES = 10_000
"""Number of training images that the kind classifier is fitted to."""


def finish(whole: keras.Model, material: Material, config: Config, bundle: Path) -> dict[str, Any]:
    """Writes the network file into `bundle`; returns the manifest's operating points, and measurements as `figures`."""
    held, train = material.rows[CALIBRATION], material.rows[TRAIN]
    ranges = material.squares[np.sort(material.drawn(config.quantisation_images, config.seed))]
    network, cache = bundle / NETWORK_FILE, bundle.parent / "cache"

    export(whole, network, ranges)
    answers = serve(network, material.squares, held, "shipped network on calibration images", cache)
    multiple, offset = _balance(answers, material, config)
    add_to_bias(whole, CLASS_MAPS, offset)
    export(whole, network, ranges)
    logits = answers.logits + offset  # the last layer is in float, so its bias adds to the logits unchanged

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
        "calibration_split": by_folder(logits, held_out.truth, held_out.sources),
        "parity_with_keras": _parity(whole, logits, material, config, decisive["calibration"]["temperature"]),
    }
    if len(np.unique(material.kinds(train))) > 1:
        some = np.random.default_rng(config.seed).permutation(train)[:KIND_IMAGES]
        learned = serve(network, material.squares, np.sort(some), "features to tell kinds apart", cache).features
        layer = KindLayer(learned, material.kinds(np.sort(some)))
        layer.append(network)
        kinds, true = layer.predict(answers.features), material.kinds(held)
        decisive["kinds"] = {name: operating_point(held_out, kinds == name, name) for name in layer.names}
        figures["kinds_mistaken"] = {
            source: float(np.mean((kinds != true)[held_out.sources == source]))
            for source in np.unique(held_out.sources)
        }
    return {**decisive, "figures": figures}


def export(model: keras.Model, file: Path, ranges: NDArray[np.uint8]) -> None:
    """Writes the served network: convolutions in 8 bits, the head in float."""
    outputs = {name: model.output[name] for name in (CLASS_MAPS, FEATURES)}
    exported = file.with_suffix(".float.onnx")
    export_onnx(keras.Model(model.input, outputs), exported)
    # The head is 2 % of the work and decides the answer, so it stays in float.
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
    """Compares the float network with the `shipped` logits of the calibration images."""
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
