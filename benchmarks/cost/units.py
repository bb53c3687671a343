"""What an image takes of the other services, counted: requests, bytes of its record, read units, bytes of log, metrics.

    python -m benchmarks.cost.units --out benchmarks/results/cost/units.json [--images 32]

The worker handles rendered images as one batch, under keys and versions as long as real ones; S3 and DynamoDB answer
within its process. A first image is not counted. Bytes of an item are counted by
`benchmarks.record_size`. Takes seconds, and
gives the same on every machine, except for a few digits of the timings.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import gzip
import io
import itertools
import json
import math
import os
import sys
import time
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore.client import BaseClient

from benchmarks.output import give
from benchmarks.record_size import item_bytes
from benchmarks.side_by_side.commands import Context
from benchmarks.side_by_side.fakes import answer_in_process
from benchmarks.side_by_side.uploads import event
from demo.lesions import dermoscopy
from handler.pseudonyms import Pseudonyms
from infra.template import read_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "dermbatch-01234567-89ab-cdef-0123-456789abcdef"  # as long as the stack's own names
KEY = "clinic/2026-11-23/{batch}-{number:08}.jpg"
SEEDS = (0, 1, 2, 3, 4, 5, 8, 14)
"""Of the pictures, each uploaded under several keys. The model classifies some and refers the others."""
ENVIRONMENT = {
    "PREDICTIONS_TABLE": "dermbatch-Predictions-ABCDEFGHIJKL",
    "UPLOADS_BUCKET": BUCKET,
    "HASH_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:HashSecret",  # nosec B105 (a name)
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",  # nosec B105 (nobody is asked)
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_LAMBDA_FUNCTION_NAME": "dermbatch-Worker-ABCDEFGHIJKL",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    "POWERTOOLS_SERVICE_NAME": "dermbatch",
    "POWERTOOLS_METRICS_NAMESPACE": "dermbatch",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}


def counted(images: int) -> dict[str, Any]:
    """Everything that `images` images in one invocation take. This process becomes a worker, so call it once."""
    os.environ.update({"MODEL_BUNDLE": str(ROOT / "models" / "vgg16-skin")} | ENVIRONMENT)
    bodies = _bodies(images)
    log = io.StringIO()
    # The secret is read once at the start, so no image takes it.
    with contextlib.redirect_stdout(log), mock.patch.object(Pseudonyms, "of", return_value=Pseudonyms(b"benchmark")):
        from handler import app  # noqa: PLC0415 (a worker starts at its import)

        calls: list[tuple[str, dict[str, Any]]] = []
        for client in [thing for thing in gc.get_objects() if issubclass(type(thing), BaseClient)]:
            answer_in_process(client, bodies)
            client.meta.events.register(
                "provide-client-params", lambda params, model, **_: calls.append((model.name, dict(params)))
            )
        for batch, count in (("first", 1), ("other", images)):
            calls.clear()
            begun = log.tell()
            uploads = [(KEY.format(batch=batch, number=n), f"{batch}-{n:026}", f"{n:032x}") for n in range(count)]
            answer = app.lambda_handler(_numbered(event(BUCKET, uploads)), Context(time.monotonic() + 300))
            if answer != {"batchItemFailures": []}:
                raise RuntimeError(f"The worker handed messages back: {log.getvalue()[-2000:]}")
    units = {"images": images, **_of_calls(calls, images), **_of_log(log.getvalue()[begun:], images)}
    if set(units["record_bytes"]) != {"classified", "referred"}:
        raise RuntimeError("The model does not answer SEEDS with both statuses; choose others, or costs are missing.")
    return units


def _bodies(images: int) -> dict[str, bytes]:
    contents = []
    for seed in SEEDS:
        buffer = io.BytesIO()
        dermoscopy(seed).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    names = (KEY.format(batch=b, number=n).rsplit("/", 1)[1] for b in ("first", "other") for n in range(images))
    return dict(zip(names, itertools.cycle(contents), strict=False))


def _numbered(batch: dict[str, Any]) -> dict[str, Any]:
    """The messages with ids as long as SQS's."""
    for number, record in enumerate(batch["Records"]):
        record["messageId"] = f"00000000-0000-4000-8000-{number:012}"
    return batch


def _of_calls(calls: Sequence[tuple[str, dict[str, Any]]], images: int) -> dict[str, Any]:
    requests = collections.Counter(name for name, _ in calls)
    items = [given["Item"] for name, given in calls if name == "PutItem" and "status" in given["Item"]]
    by_index = _indexes()
    entries = {
        name: [item_bytes({a: i[a] for a in kept if a in i}) for i in items if partition in i]
        for name, (partition, kept) in by_index.items()
    }
    records = {
        status: [item_bytes(i) for i in items if i["status"]["S"] == status] for status in ("classified", "referred")
    }
    return {
        "schema": int(items[0]["schema"]["N"]),
        "requests": {name: round(number / images, 4) for name, number in sorted(requests.items())},
        "record_bytes": {status: round(mean(sizes)) for status, sizes in records.items() if sizes},
        "largest_record_bytes": max(map(item_bytes, items)),
        "write_units": {
            status: round(mean(math.ceil(number / 1024) for number in sizes), 3)
            for status, sizes in records.items()
            if sizes
        },
        "read_units": round(sum(_read_units(given) for name, given in calls if name == "BatchGetItem") / images, 3),
        "index_entry_bytes": {name: round(mean(sizes)) for name, sizes in entries.items() if sizes},
    }


def _indexes() -> dict[str, tuple[str, set[str]]]:
    """Each index of the table: its partition key, and the attributes that it carries."""
    table = read_template()["Resources"]["Predictions"]["Properties"]
    found = {}
    for index in table["GlobalSecondaryIndexes"]:
        keys = [key["AttributeName"] for key in index["KeySchema"]]
        carried = {"image", "version", *keys, *index["Projection"]["NonKeyAttributes"]}
        found[index["IndexName"]] = (keys[0], carried)
    return found


def _read_units(given: Mapping[str, Any]) -> float:
    """Of one BatchGetItem whose keys have no item or a small one: each counts on its own, as 4 KB at least."""
    return sum(
        len(asked["Keys"]) * (1.0 if asked.get("ConsistentRead") else 0.5) for asked in given["RequestItems"].values()
    )


def _of_log(text: str, images: int) -> dict[str, Any]:
    lines = text.splitlines()
    embedded = [line for line in lines if '"_aws"' in line]
    metrics = set()
    for line in embedded:
        content = json.loads(line)
        for directive in content["_aws"]["CloudWatchMetrics"]:
            for dimensions in directive["Dimensions"]:
                named = tuple((name, content[name]) for name in sorted(dimensions))
                metrics |= {(metric["Name"], named) for metric in directive["Metrics"]}
    data = text.encode()
    return {
        "log_lines": round(len(lines) / images, 3),
        "log_bytes": round(len(data) / images),
        "of_them_metrics": round(sum(len(line) + 1 for line in embedded) / images),
        "log_compressed": round(len(gzip.compress(data, 6)) / len(data), 3),
        "metrics": len(metrics),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    give(counted(options.images), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
