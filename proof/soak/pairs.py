"""Two faults on one upload, at every receive: all pairs of them, one upload each.

The random mix rarely puts two faults on one upload, and almost never on its last receives, where no retry repairs the
damage. Here each pair strikes at receives r and r + 1, or both at r, for every r; a lasting fault meets every other one
at every r. Each batch has one message, so that an upload meets only its own two faults. Receives before r are skipped
by receiving the message and doing nothing.

Each pair is tried twice: once with timestamps that say that the messages were handed back, and once with timestamps
that say that their worker may have died.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler.intake.events import read_event
from handler.store.record import object_version
from handler.store.table import PredictionsTable
from infra.worker_loop import waiting
from model_layer import Classifier, Prediction
from proof.soak import faults
from proof.soak.clouds import CLOUDS, MAX_RECEIVES, created, send, take
from proof.soak.faults import at
from proof.soak.uploads import PICTURES, marked, rendered
from proof.soak.verdict import keep, story
from proof.soak.workers import Workers, left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack
    from proof.soak.verdict import Identity

WORKERS = 4  # mostly waiting for short timeouts
SHORT_TIMEOUT = 2.0  # seconds
HANDED_BACK, MAYBE_DEAD = "handed back", "maybe dead"
"""What a message's timestamps say: it was handed back, or its worker may have died."""

SINGLE = tuple(
    fault for fault in (*faults.OF_IMAGES, *faults.OF_INVOCATIONS, *faults.KILLS) if fault not in faults.LASTING
)
SENT_BACK = (
    faults.SLOW_DOWN, faults.UNAVAILABLE, faults.RESET_READING, faults.CUT_OFF, faults.EXPIRED, faults.LATE_TABLE,
    faults.BRIEF_TABLE, faults.TIMEOUT, faults.OUT_OF_MEMORY, *faults.KILLS,
)  # fmt: skip
"""Faults after which the upload comes again; the worker survives the others within one delivery."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One upload and its faults."""

    key: str
    first: int
    """The receive at which a worker first sees it."""
    faults: tuple[str, ...]
    """By their names in a plan."""
    last: int
    """The receive of its last fault; for a lasting fault, the last receive."""


@dataclass(slots=True)
class Found:
    """The outcome of the pairs."""

    pairs: int
    states: dict[str, int]
    deaths: int
    broken: dict[Identity, str] = field(default_factory=dict)
    """By upload, what is wrong with it."""
    queue_left: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.broken and not self.queue_left


def enumerated(receives: int = MAX_RECEIVES) -> list[Pair]:
    """Every pair, in a fixed order."""
    return [
        Pair(f"pairs/{number:05}.jpg", first, planned, last)
        for number, (first, planned, last) in enumerate(_plans(receives))
    ]


def _plans(receives: int) -> Iterator[tuple[int, tuple[str, ...], int]]:
    for receive in range(1, receives):
        for one, other in itertools.product(SENT_BACK, SINGLE):
            yield receive, (at(one, receive), at(other, receive + 1)), receive + 1
    for receive in range(1, receives + 1):
        # An earlier fault must have brought it to its last receive, and its effect counts too.
        before = (at(faults.SLOW_DOWN, receives - 1),) if receive == receives else ()
        for one, other in itertools.combinations(SINGLE, 2):
            yield min(receive, receives - 1), (*before, at(one, receive), at(other, receive)), receive
    for lasting, single, receive in itertools.product(sorted(faults.LASTING), SINGLE, range(1, receives + 1)):
        yield max(1, min(receive - 1, receives - 1)), (lasting, at(single, receive)), receives


def try_pairs(
    pairs: Sequence[Pair],
    out: Path,
    bundle: Path,
    *,
    told_as: str,
    cloud: str = "ministack",
    tell: Callable[[str], None] = lambda _: None,
) -> Found:
    """Uploads one object for each of `pairs`. A broken run leaves its story and messages in `out`."""
    scratch = out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "struck").mkdir(parents=True)
    with CLOUDS[cloud](1, MAX_RECEIVES) as stack:
        classifier = Classifier.load(bundle, threads=1)
        expected = _upload(stack, pairs, classifier, versions=cloud == "ministack")
        tell(f"{len(pairs)} uploads wait, told as {told_as}")
        plan = {pair.key: pair.faults for pair in pairs}
        (scratch / "plan.json").write_text(json.dumps(plan))
        settings = {"MODEL_BUNDLE": str(bundle.resolve()), "INFERENCE_THREADS": "1", "ERASE_REMOVED": "false"}
        settings["POWERTOOLS_LOG_LEVEL"] = "WARNING"
        workers = Workers(
            stack, scratch, plan, settings, WORKERS, short_timeout=SHORT_TIMEOUT, alter=_ALTERATIONS[told_as]
        )
        workers.start()
        workers.finish()
        letters = take(stack, stack.dlq_url)
        found = _judged(stack, pairs, expected, letters)
        found.deaths = workers.tally.deaths
        if not found.holds:
            paragraphs = story(found.broken, plan, workers.tally.history, scratch / "worker.log")
            found.told = [
                f"{complaint}: {text}" for complaint, text in zip(found.broken.values(), paragraphs, strict=True)
            ]
            keep(out, stack, letters, found.told)
    (scratch / "worker.log").replace(out / "worker.log")
    shutil.rmtree(scratch)
    return found


def _upload(
    stack: Stack, pairs: Sequence[Pair], classifier: Classifier, *, versions: bool
) -> dict[Identity, tuple[Pair, Prediction]]:
    """Uploads the objects and sends their messages, each received as often as its first fault needs."""
    pictures = [rendered(number) for number in range(PICTURES)]
    answers = [answer for answer in classifier.classify(pictures) if isinstance(answer, Prediction)]
    s3, expected, by_start = stack.endpoint.client("s3"), {}, defaultdict[int, list[str]](list)
    for number, pair in enumerate(pairs):
        content, answer = marked(pictures[number % PICTURES], number), answers[number % PICTURES]
        put = s3.put_object(Bucket=stack.bucket, Key=pair.key, Body=content)
        etag, version = put["ETag"].strip('"'), put.get("VersionId") if versions else None
        expected[pair.key, version or etag] = (pair, answer)
        by_start[pair.first].append(created(stack.bucket, pair.key, etag, version))
    _empty(stack)
    for first in range(MAX_RECEIVES, 0, -1):
        for body in by_start[first]:
            send(stack, body)
        if first > 1:
            _receive_once(stack)
    return expected


def _empty(stack: Stack) -> None:
    """Removes the bucket's own events, which arrive a moment after the uploads and start at the first receive."""
    while waiting(stack.endpoint, stack.live):
        stack.endpoint.client("sqs").purge_queue(QueueUrl=stack.queue_url)
        time.sleep(1)


def _receive_once(stack: Stack) -> None:
    sqs, held = stack.endpoint.client("sqs"), list[str]()
    while messages := sqs.receive_message(QueueUrl=stack.queue_url, MaxNumberOfMessages=10).get("Messages"):
        held += [message["ReceiptHandle"] for message in messages]
    for start in range(0, len(held), 10):
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(held[start : start + 10])
        ]
        sqs.change_message_visibility_batch(QueueUrl=stack.queue_url, Entries=entries)


def _told_since(seconds: float) -> Callable[[Any], Any]:
    """Alters events so that their messages were first received `seconds` ago."""

    def alter(event: Any) -> Any:
        for record in event["Records"]:
            record["attributes"]["ApproximateFirstReceiveTimestamp"] = str(int((time.time() - seconds) * 1000))
        return event

    return alter


_ALTERATIONS: Mapping[str, Callable[[Any], Any]] = {HANDED_BACK: _told_since(0), MAYBE_DEAD: _told_since(86_400)}


def _judged(
    stack: Stack,
    pairs: Sequence[Pair],
    expected: Mapping[Identity, tuple[Pair, Prediction]],
    letters: Sequence[Mapping[str, Any]],
) -> Found:
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
    records = {(one["object"]["key"], object_version(one["version"])): one for one in table.everything()}
    named = (message for letter in letters for message in read_event(json.loads(letter["Body"])).messages)
    lettered = {(upload.key, upload.object_version) for message in named for upload in message.uploads}
    states = defaultdict[str, int](int)
    found = Found(len(pairs), states, 0, queue_left=left(stack))
    for identity, (pair, answer) in expected.items():
        record = records.get(identity)
        states[record["status"] if record else "lost"] += 1
        if complaint := _complaint(pair, answer, record, lettered=identity in lettered):
            found.broken[identity] = complaint
    return found


def _complaint(pair: Pair, answer: Prediction, record: Any, *, lettered: bool) -> str | None:
    """What is wrong with the outcome of an upload, or None."""
    if record is None:
        return "lost"
    if record["status"] == "failed":
        if pair.last < MAX_RECEIVES:
            return "failed, though a receive without fault was left"
        return None if lettered else "failed, without a dead letter"
    if lettered:
        return "a dead letter, though it has its answer"
    if faults.LASTING & set(pair.faults):
        return "answered, though it never could be read"
    return None if record["probabilities"] == answer.probabilities else "another answer than its image's"
