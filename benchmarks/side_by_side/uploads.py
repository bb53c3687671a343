"""Typical uploads, drawn by a program: a third 12-megapixel phone JPEGs, the rest 600 x 450 as from a dermatoscope.

No photograph is used. Everything that matters for speed is as in a phone's: pixels, bytes (over 2 MB at 12 megapixels),
chroma subsampling, and an orientation tag.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import numpy as np
from PIL import ExifTags, Image

from demo.lesions import dermoscopy, phone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from infra.stack import Stack

BATCH = 32
EVERY_PHONE = 3
PHONE_PIXELS = (4032, 3024)
PHONE_GRAIN = 5.0
"""Sensor noise in levels of 255; at quality 85 it makes files of 2.3 MB."""
DISTINCT = {"phone": 4, "dermoscopy": 8}
"""Pictures that are drawn; each is uploaded under several keys."""


def draw(folder: Path) -> list[Path]:
    """The files of a batch in `folder`, in upload order; existing ones are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(BATCH):
        kind = "phone" if number % EVERY_PHONE == 0 else "dermoscopy"
        file = folder / f"{number:02}-{kind}.jpg"
        if not file.exists():
            seed = (number // EVERY_PHONE if kind == "phone" else number) % DISTINCT[kind]
            file.write_bytes(_phone(seed) if kind == "phone" else _jpeg(dermoscopy(seed), quality=90))
        files.append(file)
    return files


def _phone(seed: int) -> bytes:
    """A 12-megapixel snapshot that lies on its side, as phones store it."""
    large = phone(seed).resize(PHONE_PIXELS, Image.Resampling.BICUBIC)
    rng = np.random.default_rng(seed)
    grain = rng.standard_normal((PHONE_PIXELS[1], PHONE_PIXELS[0], 1), dtype=np.float32) * PHONE_GRAIN
    noisy = Image.fromarray(np.clip(np.asarray(large, np.float32) + grain, 0, 255).astype(np.uint8))
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    return _jpeg(noisy, quality=85, exif=tags)


def _jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def upload(stack: Stack, files: Sequence[Path], prefix: str) -> dict[str, Any]:
    """Puts `files` under `prefix`, and returns their event, one message for each."""
    s3 = stack.endpoint.client("s3")
    puts = []
    for file in files:
        answer = s3.put_object(Bucket=stack.bucket, Key=f"{prefix}/{file.name}", Body=file.read_bytes())
        puts.append((f"{prefix}/{file.name}", answer["VersionId"], answer["ETag"].strip('"')))
    return event(stack.bucket, puts)


def pretended(bucket: str, files: Sequence[Path], prefix: str) -> dict[str, Any]:
    """The event of uploads that exist only in `fakes`, each under a key of its own."""
    return event(bucket, [(f"{prefix}/{file.name}", f"{prefix}-{n}", "0" * 32) for n, file in enumerate(files)])


def event(bucket: str, puts: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """The batch of messages for (key, version, etag) of each upload."""
    return {"Records": [_message(number, bucket, *put) for number, put in enumerate(puts)]}


def _message(number: int, bucket: str, key: str, version: str, etag: str) -> dict[str, Any]:
    what = {"key": quote_plus(key, safe="/"), "versionId": version, "eTag": etag, "sequencer": "00"}
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-23T09:30:00.000Z",
        "s3": {"bucket": {"name": bucket}, "object": what},
    }
    return {
        "messageId": f"message-{number}",
        "body": json.dumps({"Records": [record]}),
        "attributes": {"ApproximateReceiveCount": "1"},
        "eventSource": "aws:sqs",
    }
