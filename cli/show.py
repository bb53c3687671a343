"""One image's records in words, under every model, and its heat map as a picture."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cli.deployed import Account, Deployed, aws_calls, find
from cli.images import ImageError, bucket_and_key
from cli.output import say, write_json
from handler.aws import DELETED, aws_code
from handler.store.precedence import Precedence
from handler.store.record import NOTICE
from model_layer import DecodingLimits, ImageRejectedError, Status
from pictures.names import one_line
from pictures.overlay import overlay_png

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WIDTH = 100
# The worker has read this file under its own limits; these only bound the memory.
_LIMITS = DecodingLimits(max_bytes=10**9, max_pixels=10**9)


def show(image: str, stack: str, account: Account, picture: Path | None, *, as_json: bool) -> int:
    """Prints every record of `image`, the current ones first; writes the heat map of the first with one to `picture`.

    Raises:
        UserError: there is no record, or no heat map, or the stack cannot be reached.
    """
    with aws_calls():
        deployed = find(stack, account)
        bucket, key = bucket_and_key(image, deployed)
        history = list(deployed.predictions().history(f"{bucket}/{key}"))
        records = Precedence.read(deployed.client("dynamodb"), deployed.table).latest_first(history)
        if not records:
            raise ImageError(
                f"There is no record of {one_line(key)} in {deployed.table}. An image that was just uploaded has one "
                "in a moment."
            )
        if as_json:
            write_json(records, sys.stdout)
        else:
            print(one_line(f"{bucket}/{key}"))
            for record in records:
                print("\n" + "\n".join(words(record)))
            print(f"\n{NOTICE}")
        if picture:
            _draw(deployed, records, picture)
    return 0


def words(record: Mapping[str, Any]) -> Iterator[str]:
    """A record as a person reads it, in lines."""
    model, status = record["model"], Status[record["status"].upper()]
    yield from _lines("status", f"{status}: {status.sentence}")
    if record["label"]:
        yield from _lines("label", f"{record['label_name']} ({record['label']}), {record['confidence']:.1%} confident")
        yield from _lines(
            "set", f"{', '.join(record['prediction_set'])} (these labels hold the truth most of the time)"
        )
        ranked = sorted(record["probabilities"].items(), key=lambda pair: -pair[1])
        yield from _lines("all labels", ", ".join(f"{code} {share:.1%}" for code, share in ranked))
        yield from _lines("triage", record["triage"])
    for reason in record["reasons"]:
        yield from _lines("reason", f"{reason['code']}: {reason['sentence']}")
    yield from _lines("file", ", ".join(_file(record["object"])))
    yield from _lines("uploaded", record["uploaded_at"] or "at an unknown time")
    yield from _lines("model", f"{model['name']} {model['version']}, at {record['predicted_at']}")
    taken = ", ".join(f"{stage} {ms:g} ms" for stage, ms in record["timings_ms"].items())
    yield from _lines("time", taken or "none was measured")


def _file(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["format"]:
        yield f"{facts['format']} of {facts['width']:,} x {facts['height']:,} pixels"
    if facts["bytes"] is not None:
        yield f"{facts['bytes']:,} bytes"
    yield f"version {facts['version'] or facts['etag']}"


def _lines(title: str, text: str) -> Iterator[str]:
    first, *others = textwrap.wrap(one_line(text), WIDTH - 14) or [""]
    yield f"  {title:<10}  {first}"
    yield from (f"  {'':<10}  {line}" for line in others)


def _draw(stack: Deployed, records: list[Any], picture: Path) -> None:
    record = next((record for record in records if record["heatmap"]), None)
    if record is None:
        raise ImageError("No record of this image has a heat map, because the model gave no label.")
    facts = record["object"]
    version = {"VersionId": facts["version"]} if facts["version"] else {}
    try:
        content = stack.client("s3").get_object(Bucket=facts["bucket"], Key=facts["key"], **version)["Body"].read()
        picture.write_bytes(overlay_png(content, record["heatmap"], _LIMITS))
    except ClientError as error:
        if aws_code(error) not in DELETED:
            raise
        raise ImageError("The image is no longer in the bucket, so its heat map can't be drawn over it.") from error
    except ImageRejectedError as error:
        raise ImageError(f"The heat map can't be drawn: {error}") from error
    say(f"{picture} shows the evidence for {record['label']} under {record['model']['version']}.")
