"""Items of both schemas, as boto3 takes them: what the table of a stack holds that is older than its worker."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from handler.store.items import stored
from handler.store.record import Record, index_keys
from handler.store.table import typed

SCHEMAS = (1, 2)


def golden_item(schema: int) -> dict[str, Any]:
    """The golden record as an item of `schema`; the file has the form that the AWS CLI prints."""

    def binary(value: dict[str, Any]) -> dict[str, Any]:
        return {"B": base64.b64decode(value["B"])} if value.keys() == {"B"} else value

    file = Path(__file__).parent / "golden" / f"item-{schema}.json"
    return json.loads(file.read_text(encoding="utf-8"), object_hook=binary)


def item_of(record: Record, schema: int = 2, **more: Any) -> dict[str, Any]:
    """`record` as an item of `schema`, with `more` attributes. Schema 1 held the whole record, as it is."""
    return typed({**(dict(record) if schema == 1 else stored(record)), **index_keys(record), **more})
