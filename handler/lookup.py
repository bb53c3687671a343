"""Many items of a table by their keys: BatchGetItem, with all that it may leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from handler.aws import AWS_ERRORS, unavailable
from handler.errors import TryAgainError
from handler.patience import IMPATIENT, Patience

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

Key = tuple[str, str]
"""`image` and `version` of an item."""

MOST_KEYS = 100  # of one request; BatchGetItem's limit
# An answer may leave keys out for reasons of its own. So often they are asked for again, however little time is left.
_ATTEMPTS = 5
_BRIEF = Patience(lambda: 10.0)


def look_up(
    client: DynamoDBClient,
    table: str,
    keys: Iterable[Key],
    attributes: tuple[str, ...],
    *,
    consistent: bool = False,
    patience: Patience = IMPATIENT,
) -> Iterator[dict[str, Any]]:
    """The items under `keys` that are there, in no order: `attributes` of each, in DynamoDB's typed form.

    Raises:
        TryAgainError: the table cannot be read now.
    """
    names = {f"#{i}": name for i, name in enumerate(attributes)}
    asked: dict[str, Any] = {
        "ConsistentRead": consistent,
        "ProjectionExpression": ", ".join(names),
        "ExpressionAttributeNames": names,
    }
    wanted = [{"image": {"S": image}, "version": {"S": version}} for image, version in dict.fromkeys(keys)]
    for i in range(0, len(wanted), MOST_KEYS):
        yield from _all(client, table, wanted[i : i + MOST_KEYS], asked, patience)


def _all(
    client: DynamoDBClient, table: str, keys: list[dict[str, Any]], asked: dict[str, Any], patience: Patience
) -> Iterator[dict[str, Any]]:
    attempt = 0
    while True:
        try:
            answer = patience.call(client.batch_get_item, RequestItems={table: {"Keys": keys, **asked}})
        except AWS_ERRORS as error:
            raise unavailable("table_unavailable", "BatchGetItem", error) from error
        yield from answer["Responses"].get(table, [])
        if table not in answer["UnprocessedKeys"]:
            return
        left = cast("list[dict[str, Any]]", answer["UnprocessedKeys"][table]["Keys"])
        attempt = 1 if len(left) < len(keys) else attempt + 1
        keys = left
        if not (_BRIEF if attempt < _ATTEMPTS else patience).wait(attempt):
            raise TryAgainError("table_unavailable", f"BatchGetItem left {len(keys)} keys unread.")
