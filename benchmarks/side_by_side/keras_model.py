"""The baseline's network: the same layers as the shipped bundle's, as a Keras file.

    python -m benchmarks.side_by_side.keras_model FILE

Random weights: the trained ones are not in git. Neither speed nor memory depends on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras

from training.network.architecture import build

SIZE = 224
LABELS = 8


def main() -> None:
    keras.utils.set_random_seed(0)
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    build(SIZE, LABELS).save(file)


if __name__ == "__main__":
    main()
