"""`dermbatch restore`: restores the table to a time, copies what is missing today, and says what was left out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cli.deployed import Account, Deployed, find
from cli.output import Progress, count, say
from cli.restore.at_time import name_at, restore_to, status, time_of, window
from cli.restore.copying import Copying, Fate
from handler.errors import TryAgainError
from model_layer.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

UNCHECKED = 1

_WORDS = {
    Fate.SAME: "are in the table already",
    Fate.LATER: "gave way to another one since",
    Fate.DIFFERS: "differ from those in the table, and were left; --replace takes those of that time",
    Fate.MARKED: "left out: their image was removed",
    Fate.GONE: "left out: their version of the object no longer exists",
    Fate.EXPIRED: "left out: their time to live has ended",
    Fate.UNCHECKED: "left out: S3 does not let you see whether the object exists",
}


class RestoreError(UserError):
    """The table or S3 failed, or there is no such table; the same command goes on."""


def restore(
    stack: str,
    account: Account,
    at: str | None,
    table: str | None,
    *,
    dry_run: bool,
    replace: bool,
    drop: bool,
) -> int:
    """Copies from the stack's table as it was `at` a time, or from `table`, which was restored otherwise.

    Returns 0 when every record was copied or rightly left out; 1 when S3 did not tell of some.

    Raises:
        UserError: the stack, the time or the table does not allow it.
    """
    deployed = find(stack, account)
    client = deployed.client("dynamodb")
    source = _source(client, deployed, at, table, dry_run=dry_run)
    if source is None:
        return 0
    copying = Copying(client, source, deployed.erasure(), deployed.reader(), dry_run=dry_run, replace=replace)
    fates = _copy(copying)
    _tell(fates, dry_run=dry_run)
    if drop and not dry_run:
        client.delete_table(TableName=source)
        print(f"{source} is deleted.")
    else:
        say(f"{source} still holds every record of that time, erased ones too. Delete it when you are content:")
        say(f"    aws dynamodb delete-table --table-name {source}")
    return UNCHECKED if fates[Fate.UNCHECKED] else 0


def _source(
    client: DynamoDBClient, deployed: Deployed, at: str | None, table: str | None, *, dry_run: bool
) -> str | None:
    """The table to copy from, which can be read; None if a dry run would have to make it."""
    if table is not None:
        if table == deployed.table:
            raise RestoreError(f"{table} is the stack's own table; --from takes a restored one.")
        if status(client, table) != "ACTIVE":
            raise RestoreError(f"There is no table {table} that can be read.")
        return table
    moment = time_of(at or "")
    name = name_at(deployed.table, moment)
    if dry_run and status(client, name) != "ACTIVE":
        print(f"{window(client, deployed.table)} Nothing was restored.")
        return None
    restore_to(client, deployed.table, name, moment)
    return name


def _copy(copying: Copying) -> Counter[Fate]:
    fates: Counter[Fate] = Counter()
    with Progress("looking at records" if copying.dry_run else "copying records", None) as progress:
        try:
            for page in copying.run():
                fates += page
                progress.to(fates.total())
        except TryAgainError as error:
            raise RestoreError(f"{error.sentence} The same command goes on.") from error
    return fates


def _tell(fates: Counter[Fate], *, dry_run: bool) -> None:
    verb = "would be" if dry_run else "were"
    print(f"{count(fates.total(), 'record')} of that time; {fates[Fate.COPIED]:,} {verb} copied.")
    if fates[Fate.REPLACED]:
        print(f"{fates[Fate.REPLACED]:>12,} {verb} put in the place of others")
    for fate, words in _WORDS.items():
        if fates[fate]:
            print(f"{fates[fate]:>12,} {words}")
