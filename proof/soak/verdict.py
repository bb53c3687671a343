"""The count at the end of a soak: the table and the queues compared with what they should hold."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from handler.intake.events import read_event
from handler.store.record import object_version
from model_layer import Prediction
from proof.soak.clouds import take
from proof.soak.workers import left

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack
    from model_layer import Rejection
    from proof.soak.workers import Tally

MOST_INFERENCES = 1.02
"""Runs of the network for each image with a prediction. After a process is killed, its inferences are repeated.

Two more batches are always allowed: in a small soak a single death exceeds its share, and after an out-of-memory death
the images are tried together and then one by one. With `each_fault` there are more deaths than that.
"""

MOST_TOLD = 20
"""Uploads of a broken soak whose story is printed; story.txt has all of them."""

_ZERO = ("lost", "doubled", "wrong_state", "dead_letters_unexplained", "failed_without_letter", "queue_left")
_ERASED = ("erased_left", "erased_wrongly")
"""None if nothing was erased."""

_FOR_THE_STORY = frozenset({"to_look_at", "letters", "story"})
"""Kept in files of their own, if a promise is broken."""

Identity = tuple[str, str]
"""An upload's key and version (or etag)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the record of an upload must say."""

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
    """Records beyond the first for an upload under one model."""
    wrong_state: int
    """Records with a wrong content, or of something that was never uploaded."""
    inferences_per_image: float
    dead_letters: int
    dead_letters_unexplained: int
    """Messages in the dead-letter queue that should not be there, or whose upload has no `failed` record."""
    failed_without_letter: int
    """`failed` records without a message in the dead-letter queue, which nobody could redrive."""
    queue_left: int
    states: dict[str, int]
    inferences: int
    duplicates_absorbed: int
    """Messages that were done because their upload already had its record."""
    retries: int
    invocations: int
    deaths: int
    """Of worker processes."""
    faults: dict[str, int]
    """How often each fault struck."""
    erased: int | None = None
    """Uploads deleted afterwards, whose records must be erased."""
    erased_left: int | None = None
    erased_wrongly: int | None = None
    to_look_at: list[Identity] = field(default_factory=list)
    """Uploads that were lost, or have a wrong record or dead letter."""
    letters: list[dict[str, Any]] = field(default_factory=list)
    """The dead letters, as SQS returned them."""
    story: list[str] = field(default_factory=list)
    """A paragraph about each of the uploads to look at."""
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
        queue_left=left(stack),
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


def story(
    wanted: Iterable[Identity],
    plan: Mapping[str, Sequence[str]],
    history: Mapping[Identity, Sequence[str]],
    log: Path,
) -> list[str]:
    """A paragraph for each upload: its faults, its deliveries, and the workers' log lines about it."""
    lines = list(_log_lines(log))
    return [_paragraph(identity, plan.get(identity[0], ()), history.get(identity, ()), lines) for identity in wanted]


def keep(out: Path, stack: Stack, letters: Sequence[Mapping[str, Any]], told: Sequence[str]) -> None:
    """Writes the story and the queues' messages to `out`. Takes the visible messages out of the live lane."""
    (out / "story.txt").write_text("\n\n".join(told) + "\n", encoding="utf-8")
    messages = {"dead_letters": letters, "live": take(stack, stack.queue_url)}
    (out / "messages.json").write_text(json.dumps(messages, indent=2) + "\n", encoding="utf-8")


def _paragraph(
    identity: Identity, faults: Sequence[str], history: Sequence[str], log: Sequence[Mapping[str, Any]]
) -> str:
    key, version = identity
    told = [f"{key} ({version}), faults: {', '.join(faults) or 'none'}", *(f"  {line}" for line in history)]
    told += [
        f"  log, receive {line.get('receives')}: {line['message']}: {line.get('error') or line.get('reasons')}"
        for line in log
        if line.get("version") == version
    ]
    return "\n".join(told)


def _log_lines(log: Path) -> Iterable[Mapping[str, Any]]:
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "message" in line:
            yield line
