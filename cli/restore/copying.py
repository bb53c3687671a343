"""Copies records from a restored table into the stack's, unless their image is gone.

A record is copied only if its version of the object still exists in S3 and no removal has left a mark for it, in
either table: the stack's may have lost its marks. A removal that comes while a page is copied is seen afterwards, as
the worker sees it (`handler.store.erasure`): it wrote its mark before it looked for records.

A final record is copied over one that gives way, and over another final one only if that is asked for. A record that
gives way is copied over none: the one that is there is later.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cli.deployed import CONNECTIONS
from handler.aws import IMPATIENT, aws_code
from handler.errors import TryAgainError
from handler.intake.messages import Upload
from handler.store.erasure import Marks
from handler.store.items import whole
from handler.store.table import is_final, look_up, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.flow.fetching import BucketReader
    from handler.store.erasure import Erasure

Item = dict[str, Any]
"""In DynamoDB's typed form."""


class Fate(StrEnum):
    """What becomes of a record of the restored table."""

    COPIED = "copied"
    REPLACED = "replaced"
    """It took the place of another one."""
    SAME = "same"
    """The stack's table has it."""
    LATER = "later"
    """The stack's table has another one in the place of one that gives way."""
    DIFFERS = "differs"
    """The stack's table has another one, which was left."""
    MARKED = "marked"
    """A removal has left a mark."""
    GONE = "gone"
    """Its version of the object no longer exists."""
    EXPIRED = "expired"
    """Its time to live has ended."""
    UNCHECKED = "unchecked"
    """S3 does not say whether the object exists."""


@dataclass(frozen=True, slots=True)
class Copying:
    """From the table `source` into that of `erasure`.

    `dry_run` only looks; `replace` lets final records take the place of other final ones.
    """

    client: DynamoDBClient
    source: str
    erasure: Erasure
    reader: BucketReader
    dry_run: bool = False
    replace: bool = False

    def run(self) -> Iterator[Counter[Fate]]:
        """What became of the records of each page. All of it can be done again: what is copied is `same` then.

        Raises:
            TryAgainError: the table or S3 failed. What was copied by then stays.
        """
        for page in self.client.get_paginator("scan").paginate(TableName=self.source):
            items = [item for item in page["Items"] if "status" in item]
            yield self._page({(item["image"]["S"], item["version"]["S"]): item for item in items})

    def _page(self, items: dict[tuple[str, str], Item]) -> Counter[Fate]:
        uploads = {key: _upload(item) for key, item in items.items()}
        fates = self._compared(items)
        wanted = [key for key, fate in fates.items() if fate in {Fate.COPIED, Fate.REPLACED}]
        marked = self._marked([uploads[key] for key in wanted])
        there = self._existing({uploads[key] for key in wanted} - marked)
        for key in wanted:
            upload = uploads[key]
            if upload in marked:
                fates[key] = Fate.MARKED
            elif (fate := there[upload]) is not None:
                fates[key] = fate
        if not self.dry_run:
            written = [key for key, fate in fates.items() if fate in {Fate.COPIED, Fate.REPLACED}]
            with ThreadPoolExecutor(CONNECTIONS, "copy") as pool:
                done = pool.map(lambda key: self._write(items[key], over=fates[key] is Fate.REPLACED), written)
                changed = [key for key, was in zip(written, done, strict=True) if not was]
            fates |= {key: Fate.LATER if fates[key] is Fate.COPIED else Fate.MARKED for key in changed}
            kept = {Fate.COPIED, Fate.REPLACED, Fate.SAME}  # same: an interrupted run may have copied it
            overtaken = self.erasure.erase_overtaken(
                list({uploads[key] for key, fate in fates.items() if fate in kept}), IMPATIENT
            )
            fates |= {key: Fate.MARKED for key, fate in fates.items() if fate in kept and uploads[key] in overtaken}
        return Counter(fates.values())

    def _compared(self, items: dict[tuple[str, str], Item]) -> dict[tuple[str, str], Fate]:
        """With what the stack's table holds. COPIED and REPLACED are what may become of it."""
        attributes = tuple({name for item in items.values() for name in item})
        found = look_up(self.client, self.erasure.table, items, attributes, consistent=True) if items else ()
        held = {(item["image"]["S"], item["version"]["S"]): item for item in found}
        return {key: self._fate(item, held.get(key)) for key, item in items.items()}

    def _fate(self, item: Item, held: Item | None) -> Fate:
        if "expires_at" in item and int(item["expires_at"]["N"]) < time.time():
            return Fate.EXPIRED
        if held is None:
            return Fate.COPIED
        if held == item:
            return Fate.SAME
        if not is_final(item):
            return Fate.LATER
        return Fate.REPLACED if self.replace or not is_final(held) else Fate.DIFFERS

    def _marked(self, uploads: Sequence[Upload]) -> set[Upload]:
        return {
            upload
            for table in (self.erasure.table, self.source)
            for _, concerned in Marks(self.client, table, self.erasure.pseudonyms).overtaking(uploads, IMPATIENT)
            for upload in concerned
        }

    def _existing(self, uploads: set[Upload]) -> dict[Upload, Fate | None]:
        """None for each object that exists, or why its records are not copied."""
        with ThreadPoolExecutor(CONNECTIONS, "look-up") as pool:
            return dict(zip(uploads, pool.map(self._missing, uploads), strict=True))

    def _missing(self, upload: Upload) -> Fate | None:
        try:
            return None if self.reader.exists(upload) else Fate.GONE
        except TryAgainError as error:
            if isinstance(error.__cause__, ClientError) and aws_code(error.__cause__) == "403":
                return Fate.UNCHECKED
            raise

    def _write(self, item: Item, *, over: bool) -> bool:
        """Returns False if a record was written meanwhile, or the one that was there was erased (`over`)."""
        condition = f"attribute_{'' if over else 'not_'}exists(image)"
        try:
            self.client.put_item(TableName=self.erasure.table, Item=item, ConditionExpression=condition)
        except ClientError as error:
            if aws_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _upload(item: Item) -> Upload:
    record = whole(plain(item))
    found = record["object"]
    return Upload(found["bucket"], found["key"], found["version"], found["etag"], record.get("uploaded_at"))
