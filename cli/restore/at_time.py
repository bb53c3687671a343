"""A new table with what the stack's table held at a given time (DynamoDB's point-in-time recovery).

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/pointintimerecovery_restores.html
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cli.output import Progress, say
from handler.aws import aws_code
from model_layer.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

POLL = 15.0
"""Seconds between two looks at a table that is being restored."""
_LONGEST_NAME = 255 - len("-at-20261125T090000Z")


class TimeError(UserError):
    """The time is none, or the table cannot be restored to it."""

    exit_code = 2


def time_of(text: str) -> datetime:
    """A time such as `2026-11-25T09:00` or `2026-11-25T10:00+01:00`; in UTC, unless it says otherwise.

    Raises:
        TimeError: `text` is no time, or one that is yet to come.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise TimeError(f"--at takes a time such as 2026-11-25T09:00 (UTC), not {text!r}.") from None
    found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    if found > datetime.now(UTC):
        raise TimeError(f"{found:%Y-%m-%dT%H:%M:%SZ} is yet to come.")
    return found.replace(microsecond=0)


def name_at(table: str, at: datetime) -> str:
    """The name of the table that `table` is restored to; it is the same for the same time, so that a run can go on."""
    return f"{table[:_LONGEST_NAME]}-at-{at:%Y%m%dT%H%M%SZ}"


def status(client: DynamoDBClient, table: str) -> str | None:
    """DynamoDB's own word, such as ACTIVE; None if there is no such table."""
    try:
        return str(client.describe_table(TableName=table)["Table"]["TableStatus"])
    except ClientError as error:
        if aws_code(error) == "ResourceNotFoundException":
            return None
        raise


def window(client: DynamoDBClient, table: str) -> str:
    """The times that the table can be restored to, in words."""
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    told: Any = backups.get("PointInTimeRecoveryDescription", {})
    try:
        first, last = (
            told[name].astimezone(UTC) for name in ("EarliestRestorableDateTime", "LatestRestorableDateTime")
        )
    except KeyError:
        return f"Point-in-time recovery is off for {table}, so it can't be restored."
    return f"{table} can be restored to any second from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}."


def restore_to(client: DynamoDBClient, source: str, target: str, at: datetime) -> None:
    """Returns once `target` can be read. Goes on with a restore that was begun before.

    Raises:
        TimeError: the table cannot be restored to that time.
    """
    if status(client, target) is None:
        try:
            client.restore_table_to_point_in_time(SourceTableName=source, TargetTableName=target, RestoreDateTime=at)
        except ClientError as error:
            if aws_code(error) == "InvalidRestoreTimeException":
                raise TimeError(window(client, source)) from error
            raise
        say(f"DynamoDB restores {source} as of {at:%Y-%m-%dT%H:%M:%SZ} into {target}. It takes 20 minutes or more.")
    started = time.monotonic()
    with Progress("restoring, seconds", None) as progress:
        while status(client, target) != "ACTIVE":
            time.sleep(POLL)
            progress.to(round(time.monotonic() - started))
