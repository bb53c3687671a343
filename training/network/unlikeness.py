"""Out-of-distribution scores: how unlike the training data an image is, from the network's pooled features.

`training.evaluation.unlike` compares the scores on images without a lesion. The one that is served, the distance to the
nearest training images, is added to the network file as a few nodes: the digest covers it, and serving needs no other
library.

- Mahalanobis distance to the nearest class, with one covariance for all classes (Lee et al. 2018);
- relative Mahalanobis distance: less the distance to all images together (Ren et al. 2021);
- distance to the k-th nearest training image, with features scaled to length 1 (Sun et al. 2022);
- residual outside the principal subspace (the first half of ViM), and ViM itself (Wang et al. 2022);
- energy of the logits (Liu et al. 2020), and 1 minus the highest probability: these need no features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.special import logsumexp, softmax

from model_layer.network import FEATURES, UNLIKENESS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Score = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

NEIGHBOURS = 10
"""The distance is to the tenth nearest training image, so that a single odd one does not count."""
SHRINKAGE = 0.1
"""The covariance is shrunk by this share towards the mean variance: few images, many channels (Ledoit & Wolf 2004)."""
PRINCIPAL_VARIANCE = 0.95


@dataclass(frozen=True)
class Gaussians:
    """One mean per group and one covariance, kept as the linear map that whitens it."""

    means: NDArray[np.float64]
    """(groups, channels)"""
    whitening: NDArray[np.float64]
    """(channels, directions)"""

    @classmethod
    def of(cls, features: NDArray[np.float64], groups: NDArray[np.int64]) -> Gaussians:
        """Fits (n, channels) features of (n,) groups."""
        names = np.unique(groups)
        means = np.stack([features[groups == name].mean(axis=0) for name in names])
        centred = features - means[np.searchsorted(names, groups)]
        covariance = centred.T @ centred / len(features)
        channels = len(covariance)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / channels * np.eye(channels)
        values, vectors = np.linalg.eigh(covariance)
        return cls(means, vectors / np.sqrt(values))

    def distances(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, groups) squared Mahalanobis distances of (n, channels) features."""
        whitened, centres = features @ self.whitening, self.means @ self.whitening
        squared: NDArray[np.float64] = (
            (whitened**2).sum(axis=1)[:, None] - 2 * whitened @ centres.T + (centres**2).sum(axis=1)
        )
        return np.maximum(squared, 0.0)


def scores(features: NDArray[np.float64], groups: NDArray[np.int64], logits: NDArray[np.float64]) -> dict[str, Score]:
    """Every score by name, fitted to (n, channels) training features, (n,) groups and (n, labels) logits.

    A score maps features and logits of m images to (m,) numbers: higher means less like the training data.
    """
    own, common = Gaussians.of(features, groups), Gaussians.of(features, np.zeros(len(features), dtype=np.int64))
    mean = features.mean(axis=0)
    _, spread, axes = np.linalg.svd(features - mean, full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(spread**2) / np.sum(spread**2), PRINCIPAL_VARIANCE)) + 1
    principal = axes[:kept]

    def residual(f: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = f - mean
        return np.asarray(np.linalg.norm(centred - centred @ principal.T @ principal, axis=1))

    vim_scale = float(logits.max(axis=1).mean() / residual(features).mean())

    def vim(f: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(residual(f) * vim_scale - logsumexp(z, axis=1))

    return {
        "mahalanobis": lambda f, _: own.distances(f).min(axis=1),
        "relative mahalanobis": lambda f, _: own.distances(f).min(axis=1) - common.distances(f)[:, 0],
        "nearest neighbours": lambda f, _: nearest(f, features),
        "residual": lambda f, _: residual(f),
        "vim": vim,
        "energy": lambda _, z: -np.asarray(logsumexp(z, axis=1)),
        "highest probability": lambda _, z: 1 - np.asarray(softmax(z, axis=1).max(axis=1)),
    }


def spread(remembered: NDArray[np.floating]) -> NDArray[np.float32]:
    """(channels,) standard deviations; dividing by them keeps a few large channels from deciding every distance."""
    return np.asarray(remembered.std(axis=0, dtype=np.float64) + 1e-6, dtype=np.float32)


def nearest(features: NDArray[np.floating], remembered: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) 1 minus the cosine between `features` (n, channels) and the k-th nearest of `remembered` (images, channels).

    Channels are divided by their `spread` over `remembered`.
    """
    scale = spread(remembered).astype(np.float64)
    bank = _unit(remembered / scale).astype(np.float16).astype(np.float64)
    cosines = _unit(features / scale) @ bank.T
    return np.asarray(1 - np.sort(cosines, axis=1)[:, -NEIGHBOURS])


def append_nearest(network: Path, remembered: NDArray[np.float32]) -> None:
    """Adds the output `unlikeness` (n,), computed as `nearest` does, to the `network` file.

    `remembered` (images, channels) are pooled features of training images; the file keeps them in half precision.
    """
    model = onnx.load(network)
    scale = spread(remembered)
    bank = _unit(remembered / scale.astype(np.float64)).T.astype(np.float16)  # (channels, images)
    constants: dict[str, NDArray[Any]] = {
        "remembered": bank,
        "spread": scale,
        "neighbours": np.array([NEIGHBOURS], dtype=np.int64),
        "farthest": np.array([NEIGHBOURS - 1], dtype=np.int64),
        "one": np.array(1, dtype=np.float32),
        "flat": np.array([-1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Div", [FEATURES, "unlikeness_spread"], ["even_features"]),
        helper.make_node("LpNormalization", ["even_features"], ["unit_features"], axis=1, p=2),
        helper.make_node("Cast", ["unlikeness_remembered"], ["bank"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["unit_features", "bank"], ["cosines"]),
        helper.make_node("TopK", ["cosines", "unlikeness_neighbours"], ["nearest", "which"], axis=1),
        helper.make_node("Gather", ["nearest", "unlikeness_farthest"], ["least"], axis=1),
        helper.make_node("Sub", ["unlikeness_one", "least"], ["distance"]),
        helper.make_node("Reshape", ["distance", "unlikeness_flat"], [UNLIKENESS]),
    ]
    for node in nodes:
        node.name = f"unlikeness_{node.op_type}"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, f"unlikeness_{name}") for name, value in constants.items()
    )
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    model.graph.output.append(helper.make_tensor_value_info(UNLIKENESS, TensorProto.FLOAT, [batch]))
    onnx.checker.check_model(model)
    onnx.save(model, network)


def _unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))
