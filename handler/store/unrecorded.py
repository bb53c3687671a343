"""Which of the bucket's current objects should have a record and have none: the news of their upload was lost.

`dermbatch reconcile` and the function on a schedule (`handler.reconciler`) both compare bucket and table by this. The
function may run out of time in a bucket of millions. Where it stopped is an item of the table beside the records; it
has no status, and so is in no index:

    image           S  `#reconciliation`; no bucket's name begins with `#`
    version         S  `place`
    key             S  all up to here are compared; not there at the beginning of a round
    object_version  S  the same, of that key; often not there
    expires_at      N  epoch seconds, the TTL attribute: the key of an image is not kept once nothing reads it
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from handler.store.objects import Place
from handler.store.table import item_key, plain, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.store.objects import Current
    from handler.store.table import PredictionsTable

MOST_SENT = 10_000
"""Messages of one comparison, so that a lost table does not classify the whole bucket again; it also waits, or ends,
while more than these are in the lane."""
LOOK_UPS_AT_A_TIME = 32

PARTITION = "#reconciliation"
_PLACE = "place"
_KEPT = timedelta(days=32)  # more than a month, for a schedule of once a month


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the objects that were uploaded within a span of time."""

    before: datetime
    """Messages about later uploads may still be on their way."""
    since: datetime | None = None
    """Records of earlier uploads may have expired (`RecordTtlDays`), and must not come back."""
    models: Sequence[str] = ()
    """Versions of models, those first that have most of the records."""

    @classmethod
    def of(cls, now: datetime, grace: timedelta, ttl_days: int, models: Sequence[str] = ()) -> Comparison:
        """`grace`: how long a message may be tried; `ttl_days`: how long records are kept, 0 for ever."""
        return cls(now - grace, now - timedelta(days=ttl_days) if ttl_days else None, models)

    def missing(self, objects: Sequence[Current], bucket: str, table: PredictionsTable) -> list[Current]:
        """Those of `objects` that have no record, whatever it says and under whatever model.

        Looks them up by the hundred under the models that are known. Only what has no record there, which may have one
        under another model, takes a question of its own.

        Raises:
            TryAgainError: the table cannot be read now.
            botocore's errors: the same.
        """
        left = [one for one in objects if self._concerns(one)]
        for model in self.models:
            keys = {one: (f"{bucket}/{one.key}", f"{one.version or one.etag}#{model}") for one in left}
            found = table.recorded(keys.values())
            left = [one for one in left if keys[one] not in found]
        if not left:
            return []
        with ThreadPoolExecutor(LOOK_UPS_AT_A_TIME, "look-up") as pool:
            recorded = pool.map(lambda one: table.has_record(f"{bucket}/{one.key}", one.version or one.etag), left)
            return [one for one, has in zip(left, recorded, strict=True) if not has]

    def _concerns(self, one: Current) -> bool:
        return one.uploaded_at < self.before and (self.since is None or one.uploaded_at >= self.since)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where the comparison on a schedule goes on. Raises what boto3 raises."""

    client: DynamoDBClient
    table: str

    def read(self) -> Place:
        """The beginning, unless a run has stopped on its way."""
        answer = self.client.get_item(TableName=self.table, Key=item_key(PARTITION, _PLACE), ConsistentRead=True)
        held = plain(answer.get("Item", {}))
        return Place(held.get("key", ""), held.get("object_version", ""))

    def write(self, place: Place | None) -> None:
        """None: the next run begins a new round. Of two runs at the same time the later one counts, and both are right:
        each has compared everything up to its place.
        """
        item: dict[str, Any] = {"image": PARTITION, "version": _PLACE}
        item["expires_at"] = int((datetime.now(UTC) + _KEPT).timestamp())
        if place:
            item |= {"key": place.key} | ({"object_version": place.version} if place.version else {})
        self.client.put_item(TableName=self.table, Item=typed(item))
