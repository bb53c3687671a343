"""Checks a deployed stack: uploads known images, waits for their records, and deletes both again.

make smoke STACK=dermbatch
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.deployed import Account, Deployed, aws_calls, find
from demo.lesions import BAD_FILES, demo_images
from handler.store.record import NOTICE
from handler.store.table import plain
from pictures.names import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COUNT = 8  # six images, a truncated one and a blank one
SEED = 20261123
POLL_SECONDS = 1.0
ERASURE_SECONDS = 120
LOOKED_AT = ("classified", "referred")


@dataclass(slots=True)
class Check:
    """One upload, its expected status, and what became of it. Seconds count from its upload."""

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
    """Whether the record is gone; None if that was not checked."""

    @property
    def passed(self) -> bool:
        return self.status in self.expected and self.erased is not False


def known_images() -> list[Check]:
    """The same images in every run, so that two runs of one model can be compared."""
    return [
        Check(name, content, ("rejected",) if name in BAD_FILES else LOOKED_AT)
        for name, content in demo_images(seed=SEED, count=COUNT)
    ]


@dataclass(frozen=True, slots=True)
class Smoke:
    """The uploads in the stack's bucket and their records in its table."""

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
        """Returns when each upload has its final record, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for check in self.checks:
                if check.status in {None, "failed"} and (record := self._record(check)):
                    check.status = str(record["status"])
                    check.found = _summary(record)
                    check.seconds = time.monotonic() - check.uploaded
                    if check.status != "failed":
                        on_record(check)
            if all(check.status not in {None, "failed"} for check in self.checks):
                return
            time.sleep(POLL_SECONDS)

    def delete_images(self) -> None:
        """Deletes each version by its id, so nothing remains."""
        for check in self.checks:
            if check.key and check.uploaded:
                version = {"VersionId": check.version} if check.version else {}
                self.s3.delete_object(Bucket=self.stack.bucket, Key=check.key, **version)

    def wait_for_erasure(self, seconds: float) -> None:
        """Notes for each upload whether its record was erased with its image, waiting at most `seconds`."""
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
        return plain(found[-1]) if found else None


def smoke(stack: str, seconds: float, *, keep: bool, account: Account) -> int:
    """Returns 0 if every upload got the record it must get, and its record was erased with it; otherwise 1.

    Raises:
        DeployedError: the stack is not there, or AWS refuses.
    """
    with aws_calls():
        deployed = find(stack, account)
        run = Smoke(deployed, deployed.client("s3"), deployed.client("dynamodb"), f"smoke/{uuid.uuid4()}/")
        print(
            f"{len(run.checks)} uploads to s3://{deployed.bucket}/{run.prefix} at {deployed.account.place}", flush=True
        )
        try:
            run.upload()
            run.wait_for_records(seconds, lambda check: print(f"  {one_line(check.name)}", flush=True))
        finally:
            if not keep:
                run.delete_images()
        if deployed.erases_removed and not keep:
            run.wait_for_erasure(ERASURE_SECONDS)
    return report(run.checks)


def report(checks: Sequence[Check]) -> int:
    """Prints one line for each upload; returns 1 if one went wrong."""
    width = max(len(one_line(check.name)) for check in checks)
    print(f"\n{'upload':<{width}}  {'must be':<22}  {'is':<10}  {'label or reason':<20}  {'seconds':>7}  {'erased':<6}")
    print("-" * (width + 77))
    for check in checks:
        seconds = "-" if check.seconds is None else f"{check.seconds:.1f}"
        erased = {None: "-", True: "yes", False: "NO"}[check.erased]
        print(
            f"{one_line(check.name):<{width}}  {' or '.join(check.expected):<22}  {check.status or 'NOTHING':<10}  "
            f"{check.found:<20}  {seconds:>7}  {erased:<6}  {'' if check.passed else 'WRONG'}".rstrip()
        )
    wrong = sum(not check.passed for check in checks)
    print(f"\n{len(checks) - wrong} of {len(checks)} uploads went the whole way. {NOTICE}")
    return 1 if wrong else 0


def _summary(record: dict[str, Any]) -> str:
    """The label, or the code of the reason if there is no label."""
    if record.get("label"):
        return f"{record['label']} {record['confidence']:.0%}"
    return "".join(f"({reason['code']})" for reason in record.get("reasons", ())[:1])
