"""The service that most projects of this kind begin with: what dermbatch's own is measured against.

FastAPI, the same network in Keras, `model.predict` on one image at a time in the endpoint. Nothing in it is slow on
purpose, and it leaves out what costs time elsewhere: it checks nothing and explains nothing.

Its weights are random (`benchmarks.baseline`): speed and memory do not depend on them.
"""

from __future__ import annotations

import io
import os
from typing import Annotated, Any

import keras
import numpy as np
from fastapi import FastAPI, File, UploadFile
from PIL import Image

LABELS = ("nv", "mel", "bkl", "bcc", "akiec", "scc", "vasc", "df")
SIZE = 224

model = keras.saving.load_model(os.environ["KERAS_MODEL"])

app = FastAPI()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
    """The label of one image."""
    image = Image.open(io.BytesIO(await file.read())).convert("RGB").resize((SIZE, SIZE))
    logits = model.predict(np.asarray(image, np.float32)[None], verbose=0)["logits"][0]
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
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
