"""Classifies the kind of an image (dermoscopic, clinical) from the network's pooled features.

Confidences that are calibrated on all kinds together are wrong for each kind separately. So each kind has its own
temperature and thresholds, and a linear layer at the end of the network file predicts which kind an image is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from model_layer.network import FEATURES, KIND

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PENALTY = 10.0
"""Strength of the L2 penalty: kinds are easy to separate, and chance details would not hold at other clinics."""


class KindLayer:
    """Multinomial logistic regression on standardised features, with equal weight for each kind."""

    def __init__(self, features: NDArray[np.float32], kinds: NDArray[np.str_]) -> None:
        """Fits (n, channels) `features` of training images to their (n,) `kinds`, at least two different ones."""
        mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64) + 1e-6
        fitted = LogisticRegression(C=1 / PENALTY, max_iter=500, class_weight="balanced").fit(
            (features - mean) / deviation, kinds
        )
        self.names: tuple[str, ...] = tuple(str(name) for name in fitted.classes_)
        coefficients, intercepts = fitted.coef_, fitted.intercept_
        if len(self.names) == 2:  # scikit-learn then keeps only the second kind's coefficients
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        self.kernel = (coefficients / deviation).T.astype(np.float32)  # (channels, kinds)
        self.bias = (intercepts - (coefficients / deviation) @ mean).astype(np.float32)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.str_]:
        """(n,) the most likely kind for each of (n, channels) `features`."""
        return np.asarray(np.array(self.names)[(features @ self.kernel + self.bias).argmax(axis=1)])

    def append(self, network: Path) -> None:
        """Adds the output `kind` (n, kinds), the probability of each kind, to the `network` file."""
        model = onnx.load(network)
        model.graph.node.extend(
            [
                helper.make_node("Gemm", [FEATURES, "kind_kernel", "kind_bias"], ["kind_logits"], name="kind_Gemm"),
                helper.make_node("Softmax", ["kind_logits"], [KIND], axis=1, name="kind_Softmax"),
            ]
        )
        model.graph.initializer.extend(
            [numpy_helper.from_array(self.kernel, "kind_kernel"), numpy_helper.from_array(self.bias, "kind_bias")]
        )
        batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        model.graph.output.append(helper.make_tensor_value_info(KIND, TensorProto.FLOAT, [batch, len(self.names)]))
        onnx.checker.check_model(model)
        onnx.save(model, network)
