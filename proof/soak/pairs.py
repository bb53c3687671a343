"""Two faults on one upload, at every receive: all pairs of them, one upload each.

The random mix seldom lets two faults meet on one upload, and hardly ever on its last receives, where nothing later
mends what they do. Here each pair strikes at receives r and r + 1, or both at r, for every r; a fault that lasts meets
every other at every r. Messages are delivered one in a batch, so that an upload has its own two faults and no
neighbour's. What precedes r is skipped by receiving the message without a word.

Each pair is tried twice: once all that comes back is told as handed back, and once as if its worker might have died.
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
from proof.soak.cloud_events import created, send, take
from proof.soak.clouds import CLOUDS, MAX_RECEIVES
from proof.soak.faults import at
from proof.soak.story import keep, story
from proof.soak.uploads import PICTURES, marked, rendered
from proof.soak.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack
    from proof.soak.verdict import Identity

WORKERS = 4  # they wait for short timeouts most of their time
SHORT_TIMEOUT = 2.0  # seconds
HANDED_BACK, MAYBE_DEAD = "handed back", "maybe dead"
"""What the times of a message tell: that it was handed back, or that a worker may have died with it."""

SINGLE = tuple(
    fault for fault in (*faults.OF_IMAGES, *faults.OF_INVOCATIONS, *faults.KILLS) if fault not in faults.LASTING
)
SENT_BACK = (
    faults.SLOW_DOWN, faults.UNAVAILABLE, faults.RESET_READING, faults.CUT_OFF, faults.EXPIRED, faults.LATE_TABLE,
    faults.BRIEF_TABLE, faults.TIMEOUT, faults.OUT_OF_MEMORY, *faults.KILLS,
)  # fmt: skip
"""Those after which the upload comes again; the others are survived within one delivery."""
NOTHING_WRITTEN = frozenset({faults.LATE_TABLE, faults.EXPIRED, faults.KILL_WRITE})
"""Those that let no record be written in the whole delivery: two of them on the last two receives leave none."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One upload, and the faults that it meets."""

    key: str
    first: int
    """The receive at which a worker sees it for the first time."""
    faults: tuple[str, ...]
    """As a plan names them."""
    last: int
    """The receive of its last fault; a lasting one counts as the last receive."""


@dataclass(slots=True)
class Found:
    """How the pairs ended."""

    pairs: int
    states: dict[str, int]
    deaths: int
    broken: dict[Identity, str] = field(default_factory=dict)
    """What is wrong with an upload."""
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
            if receive + 1 < receives or not {one, other} <= NOTHING_WRITTEN:
                yield receive, (at(one, receive), at(other, receive + 1)), receive + 1
    for receive in range(1, receives + 1):
        # Something must have brought it to its last receive; what that left counts as well.
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
    """Uploads one object for each of `pairs`; a broken run leaves its story and its messages under `out`."""
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
    """Puts the objects, and their messages into the queue, each received so often that its first receive comes next."""
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
    """The bucket's own events, which come a moment after the uploads, would each begin with the first receive."""
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
    """Events whose messages were first received so long ago."""

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
    found = Found(len(pairs), states, 0, queue_left=waiting(stack.endpoint, stack.live))
    for identity, (pair, answer) in expected.items():
        record = records.get(identity)
        states[record["status"] if record else "lost"] += 1
        if complaint := _complaint(pair, answer, record, lettered=identity in lettered):
            found.broken[identity] = complaint
    return found


def _complaint(pair: Pair, answer: Prediction, record: Any, *, lettered: bool) -> str | None:
    """What is wrong with an upload's end; None where all is well."""
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
