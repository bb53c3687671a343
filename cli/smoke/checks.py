"""What is uploaded, what must come of it, and how that is waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo.lesions.assortment import demo_images
from demo.lesions.bad_files import BAD_FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.deployed import Deployed

COUNT = 8  # six images, a truncated one and a blank one
SEED = 20261123
POLL_SECONDS = 1.0
LOOKED_AT = ("classified", "referred")


@dataclass(slots=True)
class Check:
    """One upload: what it must become, and what it became. Seconds count from its upload."""

    name: str
    content: bytes
    expected: tuple[str, ...]
    key: str = ""
    version: str | None = None
    uploaded: float = 0.0
    status: str | None = None
    found: str = ""
    seconds: float | None = None
    erased: bool | None = None
    """None while nobody has asked."""

    @property
    def passed(self) -> bool:
        return self.status in self.expected


def known_images() -> list[Check]:
    """The same for every run, so that two runs of one model can be compared."""
    return [
        Check(name, content, ("rejected",) if name in BAD_FILES else LOOKED_AT)
        for name, content in demo_images(seed=SEED, count=COUNT)
    ]


@dataclass(frozen=True, slots=True)
class Smoke:
    """The uploads in the stack's bucket, and their records in its table."""

    stack: Deployed
    s3: Any
    dynamodb: Any
    prefix: str
    checks: list[Check] = field(default_factory=known_images)

    def upload(self) -> None:
        for check in self.checks:
            check.key = f"{self.prefix}{check.name}"
            check.uploaded = time.monotonic()
            put = self.s3.put_object(Bucket=self.stack.bucket, Key=check.key, Body=check.content)
            check.version = put.get("VersionId")

    def wait_for_records(self, seconds: float, on_record: Callable[[Check], None]) -> None:
        """Until each upload has a record that is no provisional one, or `seconds` have passed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for check in self.checks:
                if check.status in {None, "failed"} and (record := self._record(check)):
                    check.status = record["status"]["S"]
                    check.found = _summary(record)
                    check.seconds = time.monotonic() - check.uploaded
                    if check.status != "failed":
                        on_record(check)
            if all(check.status not in {None, "failed"} for check in self.checks):
                return
            time.sleep(POLL_SECONDS)

    def delete_images(self) -> None:
        """For good: each version by its id."""
        for check in self.checks:
            if check.key and check.uploaded:
                version = {"VersionId": check.version} if check.version else {}
                self.s3.delete_object(Bucket=self.stack.bucket, Key=check.key, **version)

    def wait_for_erasure(self, seconds: float) -> None:
        """Whether each record has gone with its image."""
        deadline = time.monotonic() + seconds
        left = [check for check in self.checks if check.status]
        for check in left:
            check.erased = False
        while left and time.monotonic() < deadline:
            for check in left:
                check.erased = self._record(check) is None
            left = [check for check in left if not check.erased]
            if left:
                time.sleep(POLL_SECONDS)

    def _record(self, check: Check) -> dict[str, Any] | None:
        found = self.dynamodb.query(
            TableName=self.stack.table,
            ConsistentRead=True,
            KeyConditionExpression="image = :image",
            ExpressionAttributeValues={":image": {"S": f"{self.stack.bucket}/{check.key}"}},
        )["Items"]
        return found[-1] if found else None


def _summary(record: dict[str, Any]) -> str:
    """The label, or the reason's code where there is none."""
    label = record.get("label", {}).get("S")
    if label:
        return f"{label} {float(record['confidence']['N']):.0%}"
    reasons = record.get("reasons", {}).get("L", [])
    return f"({reasons[0]['M']['code']['S']})" if reasons else ""
