"""The service that most projects of this kind begin with: what dermbatch's own is measured against.

FastAPI, VGG16 in Keras, `model.predict` on one image at a time in the endpoint. Nothing in it is slow on purpose, and
it leaves out what costs time elsewhere: it checks nothing and explains nothing.

Its weights are random: speed and memory do not depend on them.
"""

from __future__ import annotations

import io
from typing import Annotated, Any

import keras
import numpy as np
from fastapi import FastAPI, File, UploadFile
from PIL import Image

LABELS = ("nv", "mel", "bkl", "bcc", "akiec", "scc", "vasc", "df")
SIZE = 224

base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), pooling="avg")
model = keras.Sequential([base, keras.layers.Dense(len(LABELS), activation="softmax")])

app = FastAPI()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
    """The label of one image."""
    image = Image.open(io.BytesIO(await file.read())).convert("RGB").resize((SIZE, SIZE))
    probabilities = model.predict(np.asarray(image, np.float32)[None], verbose=0)[0]
    best = int(probabilities.argmax())
    return {
        "label": LABELS[best],
        "confidence": float(probabilities[best]),
        "probabilities": {label: float(p) for label, p in zip(LABELS, probabilities, strict=True)},
    }


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Whether it listens."""
    return {"status": "ready"}
