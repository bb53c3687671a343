"""How many bytes and write units does a record take in DynamoDB?

    python -m benchmarks.record_size [--key-bytes 60] [--images 24]

Classifies rendered images with the shipped bundle and sizes their items: as schema 1 stored them, as they are stored
now, and what each index copies. The bucket has a name as long as the stack's own (46 bytes). No AWS is needed:
`item_bytes` counts as DynamoDB documents it.
"""

from __future__ import annotations

import argparse
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from demo.lesions.assortment import demo_images
from handler.configuration import bundle_folder
from handler.intake.messages import Upload
from handler.store.items import stored
from handler.store.record import FileFacts, Finding, build_record, index_keys
from handler.store.table import typed
from infra.template import read_template
from model_layer import Classifier, Prediction, Reason, ReferralCode, Rejection, Status

if TYPE_CHECKING:
    from handler.store.record import Answer, Record
    from model_layer import Bundle

REQUEST_ID = "11111111-2222-3333-4444-555555555555"
WRITE_UNIT = 1024
"""Bytes that one write request unit pays for, of the table or of an index."""


def item_bytes(item: dict[str, Any]) -> int:
    """Bytes that DynamoDB counts for `item` (in its typed form) against a write.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html: UTF-8 of names and
    strings; raw bytes of binaries; 1 for null and booleans; 3 for a list or map and 1 for each of its elements; for a
    number 1, and 1 for two significant digits. AWS calls the last "approximately" and does not say how digits pair, nor
    what a sign takes. Here they pair from the decimal point, and a sign takes 1: at most 1 byte more than without. The
    100 bytes that storage adds to each item do not count for writes.
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return _number_bytes(Decimal(content))
        case "NULL" | "BOOL":
            return 1
        case "L":
            return 3 + sum(1 + _value_bytes(element) for element in content)
        case "M":
            return 3 + len(content) + item_bytes(content)
    raise ValueError(f"Records hold no value of the type {kind}.")


def _number_bytes(number: Decimal) -> int:
    sign, digits, exponent = number.normalize().as_tuple()
    if not number:
        return 1
    return 1 + sign + (len(digits) + cast("int", exponent) % 2 + 1) // 2


def projected(item: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each index of the template copies of `item`; nothing for an index that it is not in."""
    return {
        index: {name: value for name, value in item.items() if name in copied}
        for index, (own, copied) in _indexes().items()
        if own <= item.keys()
    }


@cache
def _indexes() -> dict[str, tuple[set[str], set[str]]]:
    """Of each index its own keys, and all attributes that it copies."""
    table = read_template()["Resources"]["Predictions"]["Properties"]
    primary = {key["AttributeName"] for key in table["KeySchema"]}
    indexes = {}
    for index in table["GlobalSecondaryIndexes"]:
        own = {key["AttributeName"] for key in index["KeySchema"]}
        indexes[index["IndexName"]] = own, primary | own | set(index["Projection"]["NonKeyAttributes"])
    return indexes


def units(size: int) -> int:
    """Write units of an item or an index entry of `size` bytes."""
    return -(-size // WRITE_UNIT)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one record."""

    before: int
    """Of the item as schema 1 kept it: the whole record, as it is."""
    now: int
    entries: int
    """Of its entries in both indexes."""
    units_before: int
    """Of the item and its entries."""
    units: int

    @classmethod
    def of(cls, record: Record) -> Sizes:
        """Sizes of `record`'s items."""
        now, before = (typed({**fields, **index_keys(record)}) for fields in (stored(record), dict(record)))
        copied, copied_before = (list(map(item_bytes, projected(item).values())) for item in (now, before))
        return cls(
            item_bytes(before),
            item_bytes(now),
            sum(copied),
            sum(map(units, [item_bytes(before), *copied_before])),
            sum(map(units, [item_bytes(now), *copied])),
        )


def example_record(answer: Answer, bundle: Bundle, key_bytes: int) -> Record:
    """A record as the worker writes it for `answer`, about an image with a key of `key_bytes`."""
    bucket = "dermbatch-6041cf43-30c6-4f1f-9597-40f64781a5fd"  # as the stack names its bucket
    key = ("clinic/2026-11-23/" + "k" * key_bytes)[: key_bytes - 4] + ".jpg"
    version, etag = "3HL4kqtJvjVBH40Nrjfkd0aVbTvbTzXk", "d41d8cd98f00b204e9800998ecf8427e"
    upload = Upload(bucket, key, version, etag, "2026-11-23T09:30:00.125Z")
    timings = {"fetch": 141.3, "decode": 143.2, "infer": 167.4}
    finding = Finding(upload, answer, FileFacts(etag, 3_141_592, "ab" * 32), timings)
    now = datetime(2026, 11, 23, 9, 30, 2, 500_000, UTC)
    return build_record(finding, bundle, REQUEST_ID, now)


def with_reasons(answer: Prediction, codes: tuple[ReferralCode, ...]) -> Prediction:
    """`answer` as if it were referred for `codes`; without any, as if the model stood by it."""
    status = Status.REFERRED if codes else Status.CLASSIFIED
    return replace(answer, status=status, reasons=tuple(Reason(code, code.sentence) for code in codes))


def main() -> None:
    """Prints one line for each number of reasons: the largest of all images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key-bytes", type=int, default=60, help="bytes of the image's key (60)")
    parser.add_argument("--images", type=int, default=24, help="rendered images to classify (24)")
    given = parser.parse_args()
    classifier = Classifier.load(bundle_folder({}))
    answers = classifier.classify([content for _, content in demo_images(count=given.images)])
    kinds: dict[str, list[Answer]] = {"rejected": [one for one in answers if isinstance(one, Rejection)]}
    for number in (0, 1, 2, 3, len(ReferralCode)):
        name = f"referred, {number} reason{'s' * (number > 1)}" if number else "classified"
        codes = tuple(ReferralCode)[len(ReferralCode) - number :]
        kinds[name] = [with_reasons(one, codes) for one in answers if isinstance(one, Prediction)]
    print(f"Largest of {given.images} images, key of {given.key_bytes} bytes, {classifier.bundle.name}\n")
    print("| record | schema 1, bytes | now, bytes | index entries, bytes | write units, schema 1 | now |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind, examples in kinds.items():
        sizes = [Sizes.of(example_record(one, classifier.bundle, given.key_bytes)) for one in examples]
        print(
            f"| {kind} | " + " | ".join(f"{max(column):,}" for column in zip(*map(astuple, sizes), strict=True)) + " |"
        )


if __name__ == "__main__":
    main()
