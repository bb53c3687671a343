"""The count at the end of a soak: what stands in the table and the queues, against what should."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from handler.intake.events import read_event
from handler.store.record import object_version
from infra.worker_loop import waiting
from model_layer import Prediction
from proof.soak.cloud_events import take

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from infra.stack import Stack
    from model_layer import Rejection
    from proof.soak.workers import Tally

MOST_INFERENCES = 1.02
"""Runs of the network for each image that has a prediction: what a killed process had inferred is inferred again.

Two batches more are always allowed: in a small soak a single death is more than its share of the invocations, and one
for want of memory comes after its images were tried together and then each alone. Where every fault strikes once
among a few uploads (`each_fault`) there are more deaths than that.
"""

_ZERO = ("lost", "doubled", "wrong_state", "dead_letters_unexplained", "failed_without_letter", "queue_left")
_ERASED = ("erased_left", "erased_wrongly")
"""None where nothing was erased."""

_FOR_THE_STORY = frozenset({"to_look_at", "letters", "story"})
"""Kept beside `soak.json`, where a promise is broken."""

Identity = tuple[str, str]
"""An upload's key and version (or etag)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an upload's record must say."""

    status: str
    answer: Prediction | Rejection | None = None


@dataclass(slots=True)
class Verdict:
    """`soak.json`."""

    uploads: int
    records: int
    lost: int
    """Uploads without a record."""
    doubled: int
    """Records beyond the first of an upload under one model."""
    wrong_state: int
    """Records that say something else than they must, or of what was never uploaded."""
    inferences_per_image: float
    dead_letters: int
    dead_letters_unexplained: int
    """Messages in the dead-letter queue that need not be there, or whose upload has no `failed` record."""
    failed_without_letter: int
    """Records that say `failed`, of which no message waits in the dead-letter queue: nobody could redrive them."""
    queue_left: int
    states: dict[str, int]
    inferences: int
    duplicates_absorbed: int
    """Messages that were done because their upload had its record already."""
    retries: int
    invocations: int
    deaths: int
    """Of worker processes."""
    faults: dict[str, int]
    """How often each struck."""
    erased: int | None = None
    """Uploads deleted afterwards, whose records had to go."""
    erased_left: int | None = None
    erased_wrongly: int | None = None
    to_look_at: list[Identity] = field(default_factory=list)
    """The uploads that were lost, or have a record or a dead letter that they should not have."""
    letters: list[dict[str, Any]] = field(default_factory=list)
    """The dead letters, as SQS handed them out."""
    story: list[str] = field(default_factory=list)
    """What became of those to look at, a paragraph each."""
    seconds: float = 0.0
    conditions: dict[str, Any] = field(default_factory=dict)

    def broken(self) -> list[str]:
        """The promises that do not hold."""
        found = [f"{name} is {getattr(self, name)}, not 0" for name in (*_ZERO, *_ERASED) if getattr(self, name)]
        predicted = self.states.get("classified", 0) + self.states.get("referred", 0)
        batch = self.conditions.get("batch_size", 0)
        if self.inferences > max(predicted * MOST_INFERENCES, predicted + 2 * batch):
            found.append(f"inferences_per_image is {self.inferences_per_image}, above {MOST_INFERENCES}")
        return found

    def to_json(self) -> str:
        told = {name: value for name, value in asdict(self).items() if name not in _FOR_THE_STORY}
        return json.dumps({**told, "holds": not self.broken()}, indent=2) + "\n"


def judge(
    stack: Stack,
    expected: Mapping[Identity, Expected],
    records: Iterable[Mapping[str, Any]],
    tally: Tally,
    inferences: int,
    faults: Mapping[str, int],
) -> Verdict:
    """Counts. Takes the dead letters out of their queue."""
    found: dict[Identity, list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault((record["object"]["key"], object_version(record["version"])), []).append(record)
    states = Counter(str(record["status"]) for same in found.values() for record in same)
    failed = {identity for identity, same in found.items() if same[0]["status"] == "failed"}
    taken = take(stack, stack.dlq_url)
    letters = [read_event(json.loads(message["Body"])).messages[0].uploads for message in taken]
    unexplained = [
        uploads
        for uploads in letters
        if not any(
            one in expected and expected[one].status == "failed"
            for one in failed & {(u.key, u.object_version) for u in uploads}
        )
    ]
    lettered = {(upload.key, upload.object_version) for uploads in letters for upload in uploads}
    wrong = {identity for identity, same in found.items() if not _agrees(same[0], expected.get(identity))}
    unexplained_uploads = {(upload.key, upload.object_version) for uploads in unexplained for upload in uploads}
    predicted = states["classified"] + states["referred"]
    return Verdict(
        uploads=len(expected),
        records=sum(states.values()),
        lost=len(expected.keys() - found.keys()),
        doubled=sum(len(same) - 1 for same in found.values()),
        wrong_state=len(wrong),
        inferences_per_image=round(inferences / max(1, predicted), 4),
        dead_letters=len(letters),
        dead_letters_unexplained=len(unexplained),
        failed_without_letter=len(failed - lettered),
        queue_left=waiting(stack.endpoint, stack.live),
        states=dict(sorted(states.items())),
        inferences=inferences,
        duplicates_absorbed=tally.acknowledged.total() - len(tally.acknowledged),
        retries=tally.retries,
        invocations=tally.invocations,
        deaths=tally.deaths,
        faults=dict(sorted(faults.items())),
        to_look_at=sorted((expected.keys() - found.keys()) | wrong | unexplained_uploads | (failed - lettered)),
        letters=taken,
    )


def _agrees(record: Mapping[str, Any], expected: Expected | None) -> bool:
    if expected is None or record["status"] != expected.status:
        return False
    if isinstance(expected.answer, Prediction):
        return bool(record["probabilities"] == expected.answer.probabilities)
    return expected.answer is None or record["reasons"][0]["code"] == expected.answer.code


def table(verdict: Verdict) -> str:
    """For a person."""
    rows: list[tuple[str, Any]] = [("uploads", verdict.uploads), ("records", verdict.records)]
    rows += [(f"  {status}", count) for status, count in verdict.states.items()]
    rows += [("lost", verdict.lost), ("doubled", verdict.doubled), ("in a wrong state", verdict.wrong_state)]
    rows += [("duplicates absorbed", verdict.duplicates_absorbed), ("messages tried again", verdict.retries)]
    rows += [("invocations", verdict.invocations), ("workers that died", verdict.deaths)]
    rows += [("inference runs per image", f"{verdict.inferences_per_image:.4f}")]
    rows += [("dead letters", verdict.dead_letters), ("  unexplained", verdict.dead_letters_unexplained)]
    rows += [("failed records without one", verdict.failed_without_letter)]
    rows += [("left in the queue", verdict.queue_left)]
    if verdict.erased is not None:
        rows += [("deleted afterwards", verdict.erased), ("  with a record left", verdict.erased_left)]
        rows += [("  records missing beyond them", verdict.erased_wrongly)]
    rows += [("faults that struck", sum(verdict.faults.values()))]
    rows += [(f"  {fault}", count) for fault, count in verdict.faults.items()]
    return "\n".join(f"{name:<36}{value:>9}" for name, value in rows)
