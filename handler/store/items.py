"""Schema 2 of the stored item: a record in one write unit of DynamoDB, which is 1,024 bytes. Pure, no boto3.

A record is stored without what its reader knows anyway, and is whole again when it is read:

    not stored                          because
    image's bucket and key, versions    the item's keys hold them
    a reason's sentence, a label's name they depend on a code only; stored where they say something else
    what is null or empty               its absence says so

and shorter where the short form says the same:

    heatmap                             binary: rows, columns, and the values row by row, one byte each
    object.etag and sha256, model.digest binary: the bytes of the hex digits
    notice                              its first sentence

Attributes keep the names of the record's fields. Items of schema 1 hold the whole record as it is; since a reader takes
what is stored and adds only what is missing, it reads both without asking which it is. `tests/golden/item-1.json` and
`item-2.json` show one of each. `schema` of a record (1) and of an item (2) are different numbers, because the record
has not changed: programs that read records need not know how they are kept.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from handler.errors import REFUSALS
from handler.store.record import NOTICE, SCHEMA, ModelFields, ObjectFields, Record, object_version
from model_layer import ReferralCode, RejectionCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ITEM_SCHEMA = 2
STORED_NOTICE = "Research use only."

SENTENCES = MappingProxyType(
    {code.value: code.sentence for codes in (ReferralCode, RejectionCode) for code in codes}
    | {code.value: sentence for code, sentence in REFUSALS.items()}
)
"""The sentences that are not stored with their code. A record is read with the wording of today."""

LABEL_NAMES = MappingProxyType(
    {
        "nv": "melanocytic nevus",
        "mel": "melanoma",
        "bkl": "benign keratosis-like lesion",
        "bcc": "basal cell carcinoma",
        "akiec": "actinic keratosis or intraepithelial carcinoma",
        "scc": "squamous cell carcinoma",
        "vasc": "vascular lesion",
        "df": "dermatofibroma",
    }
)
"""The names that are not stored with their label: the shipped bundle's. Never change one, as items rely on it."""

_UNKNOWN_CODE = "This version of dermbatch has no sentence for the code."
_PARTS = frozenset({"object", "model"})
_DIGESTS = (("object", "etag", ""), ("object", "sha256", ""), ("model", "digest", "sha256:"))
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")


def stored(record: Record) -> dict[str, Any]:
    """The attributes that keep `record`, without those of the indexes. Bytes become DynamoDB's binary."""
    fields = cast("dict[str, Any]", record)
    known = _known(fields)
    kept = _differing(fields, known)
    kept |= {part: _differing(fields[part], known[part]) for part in kept.keys() & _PARTS}
    for part, name, prefix in _DIGESTS:
        if digest := kept.get(part, {}).get(name):
            kept[part][name] = _packed_digest(digest, prefix)
    if heatmap := fields.get("heatmap"):
        kept["heatmap"] = bytes((heatmap["rows"], heatmap["columns"], *heatmap["values"]))
    if reasons := fields.get("reasons"):
        kept["reasons"] = [_without_sentence(reason) for reason in reasons]
    keys = {"image": fields["image"], "version": fields["version"]}
    return {**keys, "schema": ITEM_SCHEMA, **kept, "notice": STORED_NOTICE}


def whole(attributes: Mapping[str, Any]) -> Record:
    """The record that `attributes` of an item keep, whether of schema 1 or 2.

    `image` and `version` must be among them. Of a projection, whatever is missing is None.
    """
    fields = _known(attributes)
    fields |= {name: attributes[name] for name in fields.keys() & attributes.keys() - _PARTS}
    for part in _PARTS:
        fields[part] |= attributes.get(part, {})
    for part, name, prefix in _DIGESTS:
        if isinstance(digest := fields[part][name], bytes):
            fields[part][name] = prefix + digest.hex()
    if isinstance(packed := fields["heatmap"], bytes):
        fields["heatmap"] = {"rows": packed[0], "columns": packed[1], "values": list(packed[2:])}
    fields["reasons"] = with_sentences(fields["reasons"])
    return cast("Record", fields | {"schema": SCHEMA, "notice": NOTICE})


def with_sentences(reasons: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """`reasons` of an item or of an index's entry, each with the sentence for the person who took the photograph."""
    return [
        {"code": (code := reason["code"]), "sentence": reason.get("sentence") or SENTENCES.get(code, _UNKNOWN_CODE)}
        for reason in reasons
    ]


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader knows without being told: each field's value where none is stored."""
    bucket, _, key = attributes["image"].partition("/")
    version = attributes["version"]
    return {
        "image": attributes["image"],
        "version": version,
        "schema": SCHEMA,
        "status": None,
        "label": None,
        "label_name": LABEL_NAMES.get(attributes.get("label") or ""),
        "confidence": None,
        "probabilities": None,
        "prediction_set": None,
        "triage": None,
        "heatmap": None,
        "reasons": [],
        "object": dict.fromkeys(ObjectFields.__annotations__)
        | {"bucket": bucket, "key": key, "version": object_version(version)},
        "model": dict.fromkeys(ModelFields.__annotations__) | {"version": version.rpartition("#")[2]},
        "uploaded_at": None,
        "predicted_at": None,
        "timings_ms": {},
        "request_id": None,
        "notice": NOTICE,
    }


def _differing(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value != known[name]}


def _without_sentence(reason: dict[str, str]) -> dict[str, str]:
    return {"code": reason["code"]} if SENTENCES.get(reason["code"]) == reason["sentence"] else reason


def _packed_digest(text: str, prefix: str) -> bytes | str:
    digits = text.removeprefix(prefix)
    return bytes.fromhex(digits) if prefix + digits == text and _HEX.fullmatch(digits) else text
