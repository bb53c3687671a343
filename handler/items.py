"""Plain JSON to DynamoDB's typed form and back, numbers as exact decimals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def typed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON as an item. Raises TypeError for what DynamoDB has no number for (NaN, infinity)."""
    return {name: _serialize(_exact(value)) for name, value in attributes.items()}


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """An item in DynamoDB's typed form as plain JSON."""
    return {name: _number(_deserialize(value)) for name, value in item.items()}


def _exact(value: Any) -> Any:
    """Floats to the decimals that they print as: 0.1 is stored as 0.1, not as the binary fraction next to it."""
    match value:
        case float():
            return Decimal(str(value))
        case dict():
            return {name: _exact(part) for name, part in value.items()}
        case list():
            return [_exact(part) for part in value]
        case _:
            return value


def _number(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: _number(part) for name, part in value.items()}
        case list():
            return [_number(part) for part in value]
        case _:
            return value
