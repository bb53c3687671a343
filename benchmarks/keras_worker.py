"""The baseline: the worker that most projects of this kind ship.

The same network as a Keras model, in a Lambda handler of the usual kind: the model is loaded at import, each image is
fetched, decoded by Pillow in full, run through `model.predict` on its own, and put into the table, one after the other.
Nothing in it is slow on purpose, and it skips work that costs others time: it makes no checks, handles no errors, does
not recognise duplicates, and prints no progress bar.

Its weights are random (`benchmarks.keras_models`): the trained ones are not in git, and speed and memory do not depend
on them.
"""

from __future__ import annotations

import io
import json
import os
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_plus

import boto3
import keras
import numpy as np
from PIL import Image

LABELS = ("nv", "mel", "bkl", "bcc", "akiec", "scc", "vasc", "df")
SIZE = 224

model = keras.saving.load_model(os.environ["KERAS_MODEL"])
s3 = boto3.client("s3")
table: Any = boto3.resource("dynamodb").Table(os.environ["PREDICTIONS_TABLE"])


def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, list[Any]]:
    """Classifies the uploads of a batch of messages."""
    for message in event["Records"]:
        for record in json.loads(message["body"])["Records"]:
            bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            image = Image.open(io.BytesIO(body)).convert("RGB").resize((SIZE, SIZE))
            logits = model.predict(np.asarray(image, np.float32)[None], verbose=0)["logits"][0]
            probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            best = int(probabilities.argmax())
            table.put_item(
                Item={
                    "image": f"{bucket}/{key}",
                    "version": record["s3"]["object"]["versionId"],
                    "label": LABELS[best],
                    "confidence": Decimal(str(float(probabilities[best]))),
                    "probabilities": {
                        label: Decimal(str(float(p))) for label, p in zip(LABELS, probabilities, strict=True)
                    },
                }
            )
    return {"batchItemFailures": []}
