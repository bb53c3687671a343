"""Does the heat map show what the answer depends on? Two checks that an edge detector, say, would fail.

Masking: the fifth of the image that is hottest for the label is painted over, then the coldest fifth instead. The
label's probability must fall more in the first case. The paint is the image's mean colour, which removes shape and
contrast without adding darkness or light (a black patch would look like a lesion). As a control, the same is done with
the map of a network whose last convolution is shuffled: it has the same features, but their meaning is lost, so its
hottest fifth should win about half of the time.

Shuffling: when the weights of the last convolutions are shuffled, then of more and more below, the map must change
(Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018), measured by Spearman's rank correlation with the
original map. A map that stays the same explains the image, not the model. With all weights shuffled an 8-bit network
gives flat maps, which count as a correlation of 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from model_layer import BATCH, DecodedImage
from model_layer.decision import HEATMAP_SIDE, calibrated, kinds_of, logits_of
from model_layer.network import CLASS_MAPS, Network
from training.evaluation.bootstrap import estimate, lesion_weights, rank_correlation, shares
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model_layer import Bundle, Classifier
    from training.data.dataset import LabelledImage

IMAGES = 100
"""Default number per data folder."""
FIFTH = 0.2
TARGET = 0.8
"""The hottest fifth should matter more than the coldest in this share of the images."""
_SHUFFLES = 4
"""Each shuffle is used for a quarter of the images, so that one unlucky shuffle does not decide for all."""


def explanation(classifier: Classifier, images: Sequence[LabelledImage], seed: int) -> dict[str, dict[str, Any]]:
    """Data folder, and `all`, to the figures of both checks.

    `hottest_matters_more` and `control` are shares of images. `shuffled` maps the shuffled layers to the mean rank
    correlation of the maps, and to the share of maps that are `alike`: with a correlation of 0.5 or more.
    """
    decoded = [(image, classifier.decode(image.path.read_bytes())) for image in images]
    looked_at = [image for image, one in decoded if isinstance(one, DecodedImage)]
    pixels = np.stack([one.pixels for _, one in decoded if isinstance(one, DecodedImage)])
    bundle = classifier.bundle
    network = Network(bundle)
    depth = convolutions(bundle.network)
    stages = {"last convolution": 1, "last two": 2, "last five": 5, "all": depth}
    stages = {name: last for name, last in stages.items() if last < depth or name == "all"}

    with Progress("checking heat maps", (5 + len(stages)) * len(pixels)) as progress:
        maps, before = _answers(network, pixels, bundle, progress)
        labels = before.argmax(axis=1)
        evidence = np.stack([evidence_of(own, int(k)) for own, k in zip(maps, labels, strict=True)])
        shuffled = {name: _shuffled(classifier, pixels, labels, last, seed, progress) for name, last in stages.items()}
        wins = {}
        for name, places in (("hottest_matters_more", evidence), ("control", next(iter(shuffled.values())))):
            left = []
            for sign in (1, -1):
                covered = np.stack([masked(p, sign * e) for p, e in zip(pixels, places, strict=True)])
                _, after = _answers(network, covered, bundle, progress)
                left.append(after[np.arange(len(labels)), labels])
            wins[name] = left[0] < left[1]

    similar = {name: np.array(list(map(_correlation, evidence, own))) for name, own in shuffled.items()}
    sources = np.array([image.source for image in looked_at])
    lesions = np.array([image.lesion for image in looked_at])
    groups = {str(source): sources == source for source in np.unique(sources)} | {"all": np.ones(len(sources), bool)}
    return {
        name: _figures(lesions[m], {k: w[m] for k, w in wins.items()}, {k: s[m] for k, s in similar.items()})
        for name, m in groups.items()
    }


def evidence_of(class_maps: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    """(rows, columns), at most 7 x 7: `model_layer.decision.heatmap` without cutting off values below 0.

    The heat map of a record has no values below 0, so its coldest fifth is not defined.
    """
    above = class_maps[:, :, label] - class_maps.mean(axis=2)
    step = -(-max(above.shape) // HEATMAP_SIDE)
    rows, columns = above.shape[0] // step, above.shape[1] // step
    return np.asarray(above[: rows * step, : columns * step].reshape(rows, step, columns, step).mean(axis=(1, 3)))


def masked(pixels: NDArray[np.uint8], evidence: NDArray[np.floating]) -> NDArray[np.uint8]:
    """`pixels` with the hottest fifth of the cells of `evidence` painted in the image's mean colour."""
    cells = round(FIFTH * evidence.size)
    hottest = np.zeros(evidence.size, dtype=bool)
    hottest[np.argsort(-evidence.ravel(), kind="stable")[:cells]] = True
    rows, columns = (np.arange(side) * count // side for side, count in zip(pixels.shape, evidence.shape, strict=False))
    covered = pixels.copy()
    covered[hottest.reshape(evidence.shape)[np.ix_(rows, columns)]] = np.rint(pixels.mean(axis=(0, 1)))
    return covered


def _answers(
    network: Network, pixels: NDArray[np.uint8], bundle: Bundle, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(n, rows, columns, labels) class maps and (n, labels) calibrated probabilities."""
    maps, probabilities = [], []
    for start in range(0, len(pixels), BATCH):
        outputs = network.run(pixels[start : start + BATCH])
        temperatures = np.array([[bundle.point(kind).temperature] for kind in kinds_of(bundle, outputs)])
        maps.append(outputs.class_maps)
        probabilities.append(calibrated(logits_of(outputs.class_maps), temperatures))
        progress.advance(len(outputs.class_maps))
    return np.concatenate(maps), np.concatenate(probabilities)


def _shuffled(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    last: int,
    seed: int,
    progress: Progress,
) -> NDArray[np.float32]:
    """(n, rows, columns) evidence for `labels` in networks whose `last` convolutions are shuffled."""
    bundle = classifier.bundle
    evidence: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(pixels)
    for k in range(_SHUFFLES):
        rows = np.arange(k, len(pixels), _SHUFFLES)
        if not len(rows):
            continue
        other = Network(replace(bundle, network=randomised(bundle.network, last, seed + k)))
        maps, _ = _answers(other, pixels[rows], bundle, progress)
        for row, own in zip(rows, maps, strict=True):
            evidence[row] = evidence_of(own, int(labels[row]))
    return np.stack(evidence)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Spearman's rank correlation; 0 if a map is flat."""
    return float(np.nan_to_num(rank_correlation(one.ravel(), other.ravel())))


def _figures(
    lesions: NDArray[np.str_], wins: dict[str, NDArray[np.bool_]], similar: dict[str, NDArray[np.float64]]
) -> dict[str, Any]:
    weights = lesion_weights(lesions)
    count = len(np.unique(lesions))
    figures: dict[str, Any] = {"images": len(lesions), "lesions": count, "target": TARGET}
    for name, own in wins.items():
        figures[name], figures[f"{name}_ci"] = estimate(shares(weights, own), count)
    figures["shuffled"] = {}
    for name, values in similar.items():
        correlation, ci = estimate(shares(weights, values))
        alike, alike_ci = estimate(shares(weights, values >= 0.5), count)
        figures["shuffled"][name] = {
            "rank_correlation": correlation,
            "rank_correlation_ci": ci,
            "alike": alike,
            "alike_ci": alike_ci,
        }
    return figures


def convolutions(network: bytes) -> int:
    """The number of convolutions of the ONNX `network`."""
    return len(_kernels(onnx.load_from_string(network)))


def randomised(network: bytes, last: int, seed: int) -> bytes:
    """`network` with the kernels of its `last` convolutions shuffled, counted from the output.

    Each kernel keeps its values and only their places change, so that the scales of an 8-bit network stay valid.
    """
    model = onnx.load_from_string(network)
    rng = np.random.default_rng(seed)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in _kernels(model)[-last:]:
        values = numpy_helper.to_array(tensors[name])
        shuffled = rng.permutation(values.ravel()).reshape(values.shape)
        tensors[name].CopyFrom(numpy_helper.from_array(shuffled, name))
    return bytes(model.SerializeToString())


def _kernels(model: onnx.ModelProto) -> list[str]:
    """Names of the kernels that contribute to the class maps, in order; dequantisers are followed to stored values."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    above: set[str] = set()  # tensors that the class maps depend on
    wanted = [CLASS_MAPS]
    while wanted:
        name = wanted.pop()
        if name not in above:
            above.add(name)
            wanted += maker[name].input if name in maker else []
    kernels = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvInteger", "QLinearConv") or not above.intersection(node.output):
            continue
        name = node.input[3 if node.op_type == "QLinearConv" else 1]
        while name not in initialisers and name in maker:
            name = maker[name].input[0]
        if name in initialisers:
            kernels.append(name)
    return kernels
