"""Schema 1 of the record: what a person or a program finds for one upload, and under which keys. Pure, plain JSON.

`handler.store.items` says how the table keeps it.

Every record has every field, None where there is nothing to say, so that a reader never has to ask whether a field is
there. `tests/golden/record-1.json` shows a whole record, and will stay readable.

The keys of the table's two indexes are spread so that no label of a day is one hot partition. A DynamoDB partition
takes 1,000 writes of up to 1 KB a second, and an index entry here is well under 1 KB. At 10,000 images/s of one label,
16 shards take 625 writes/s each; above 16,000/s a seventeenth is needed. A question takes 16 small queries for a day.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from handler.errors import RefusedError, SupersededError, TryAgainError
from handler.intake.messages import Upload, iso8601
from model_layer import Prediction, Rejection, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from model_layer import Bundle

SCHEMA = 1
NOTICE = "Research use only. Not a medical device."

Answer = Prediction | Rejection | SupersededError | RefusedError | TryAgainError
"""The result for an upload. A `TryAgainError` is recorded only on the last two receives of its message."""

SHARDS = 16
"""May be raised, never lowered: records stay in the shards that they were written to."""

BY_LABEL = "by_label"
BY_PROBLEM = "by_problem"
INDEX_KEYS = frozenset({"label_shard", "confidence_rank", "problem_shard"})
"""The attributes that exist only for the indexes."""

_LABELLED = frozenset({Status.CLASSIFIED, Status.REFERRED})
_PROBLEMS = frozenset({Status.REFERRED, Status.REJECTED, Status.SUPERSEDED, Status.FAILED})


class ReasonFields(TypedDict):
    code: str
    """Stable: programs may rely on it."""
    sentence: str
    """For the person who took the photograph; its wording may change."""


class HeatmapFields(TypedDict):
    rows: int
    """Of the grid, top to bottom."""
    columns: int
    """Of the grid, left to right."""
    values: list[int]
    """Row by row: how much the place speaks for `label`, from 0 (nothing) to 100 (the image's strongest)."""


class ObjectFields(TypedDict):
    """Facts about the image's file. Called `object`, because the partition key has the name `image`."""

    bucket: str
    """Name of the bucket."""
    key: str
    """The object's key, decoded."""
    version: str | None
    """S3's version id; null in a bucket without versions."""
    etag: str | None
    """S3's entity tag, without quotes."""
    bytes: int | None
    """Size of the stored object; null if it was not read."""
    sha256: str | None
    """Hex digest of the image's bytes; null if they were not read."""
    format: str | None
    """`jpeg`, `png`, `webp`, `bmp`, `tiff`, `gif`, `heic` or `dicom`, by content; null if it could not be judged."""
    width: int | None
    """Pixels, as shown (after orientation)."""
    height: int | None
    """Pixels, as shown (after orientation)."""


class ModelFields(TypedDict):
    name: str
    """Of the bundle."""
    version: str
    """Of the bundle; part of the sort key."""
    digest: str
    """`sha256:` and the hex digest of the network file."""


class PredictionFields(TypedDict):
    """The model's answer; all None where there is none."""

    label: str | None
    """Code of the most probable label. Not a diagnosis: the model's label."""
    label_name: str | None
    """The label in words."""
    confidence: float | None
    """Calibrated probability of `label`, 0 to 1."""
    probabilities: dict[str, float] | None
    """Calibrated probability of every label; they sum to 1."""
    prediction_set: list[str] | None
    """The labels that hold the true one with the coverage that the bundle states, most probable first."""
    triage: str | None
    """`urgent` if the malignant labels together pass the bundle's threshold, otherwise `routine`."""
    heatmap: HeatmapFields | None
    """Where the evidence for `label` lies."""


class Record(PredictionFields):
    """One upload under one model."""

    image: str
    """Partition key: `<bucket>/<key>`."""
    version: str
    """Sort key: `<object version id, or etag>#<model version>`."""
    schema: int
    """1. Items of the table have a number of their own."""
    status: str
    """One of the statuses above."""
    reasons: list[ReasonFields]
    """Why the upload was referred, rejected, superseded or failed; empty for `classified`."""
    object: ObjectFields
    """The image's file."""
    model: ModelFields
    """The bundle that answered."""
    uploaded_at: str | None
    """When S3 took the object: UTC, ISO 8601; null if the event did not say."""
    predicted_at: str
    """When this record was made: UTC, ISO 8601."""
    timings_ms: dict[str, float]
    """Milliseconds by stage: `fetch`, `decode`, `infer`."""
    request_id: str
    """Of the Lambda invocation; finds its log lines."""
    notice: str
    """Research use only. Not a medical device."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The facts about an upload's file as it is stored, as far as it was read."""

    etag: str | None = None
    bytes: int | None = None
    """The whole object's size."""
    sha256: str | None = None
    """Hex digest of the content."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An upload with its answer: everything that its record is made from."""

    upload: Upload
    answer: Answer
    file: FileFacts = FileFacts()
    timings_ms: dict[str, float] = field(default_factory=dict)
    """By stage: `fetch`, `decode`, `infer` (its share of the time of those that were in the network together)."""

    @property
    def status(self) -> Status:
        match self.answer:
            case Prediction(status=status):
                return status
            case Rejection() | RefusedError():
                return Status.REJECTED
            case SupersededError():
                return Status.SUPERSEDED
            case TryAgainError():
                return Status.FAILED


def record_key(upload: Upload, model_version: str) -> tuple[str, str]:
    """Partition and sort key: `<bucket>/<key>`, `<object version id, or etag>#<model version>`."""
    return upload.image, f"{upload.object_version}#{model_version}"


def object_version(sort_key: str) -> str:
    """The object's version, or else its etag, in a record's sort key. It may contain `#`; a model's version may not."""
    return sort_key.rpartition("#")[0]


def index_keys(record: Record) -> dict[str, str]:
    """The attributes that put `record` into its indexes."""
    digest = hashlib.sha256(record["image"].encode()).hexdigest()
    day, shard = record["predicted_at"][:10], int(digest[:8], 16) % SHARDS
    keys = {}
    if record["status"] in _LABELLED:
        keys["label_shard"] = _shard(str(record["label"]), day, shard)
        # Of fixed width, so that text order is the order of confidence; the digest separates equal ones evenly.
        keys["confidence_rank"] = f"{record['confidence']:.6f}#{digest[:12]}"
    if record["status"] in _PROBLEMS:
        keys["problem_shard"] = _shard(record["status"], day, shard)
    return keys


def shards(subject: str, days: Iterable[date]) -> list[str]:
    """All index partitions of `subject` (a label or a status) on `days` (of `predicted_at`, in UTC)."""
    return [_shard(subject, day.isoformat(), shard) for day in sorted(set(days)) for shard in range(SHARDS)]


def _shard(subject: str, day: str, number: int) -> str:
    return f"{subject}#{day}#{number}"


def build_record(finding: Finding, bundle: Bundle, request_id: str, now: datetime | None = None) -> Record:
    """The record of `finding` under `bundle`'s model, written `now` (default: the present)."""
    image, version = record_key(finding.upload, bundle.version)
    return Record(
        image=image,
        version=version,
        schema=SCHEMA,
        status=str(finding.status),
        **_prediction(finding.answer),
        reasons=_reasons(finding.answer),
        object=_object(finding),
        model=ModelFields(name=bundle.name, version=bundle.version, digest=bundle.digest),
        uploaded_at=finding.upload.uploaded_at,
        predicted_at=iso8601(now or datetime.now(UTC)),
        timings_ms={stage: round(ms, 1) for stage, ms in finding.timings_ms.items()},
        request_id=request_id,
        notice=NOTICE,
    )


def unstored_record(
    answer: Prediction | Rejection,
    file: FileFacts,
    timings_ms: dict[str, float],
    bundle: Bundle,
    request_id: str,
    key: str | None = None,
) -> dict[str, Any]:
    """The record of an image that is in no bucket: as schema 1, but `image` and what names an object are None.

    `key` is the name under which a person knows the file.
    """
    finding = Finding(Upload("", "", None, None, None), answer, file, timings_ms)
    record: dict[str, Any] = {**build_record(finding, bundle, request_id)}
    nameless = {**record["object"], "bucket": None, "key": key, "version": None, "etag": None}
    return {**record, "image": None, "version": None, "object": nameless}


def _prediction(answer: Answer) -> PredictionFields:
    if not isinstance(answer, Prediction):
        return PredictionFields(
            label=None,
            label_name=None,
            confidence=None,
            probabilities=None,
            prediction_set=None,
            triage=None,
            heatmap=None,
        )
    return PredictionFields(
        label=answer.label,
        label_name=answer.label_name,
        confidence=answer.confidence,
        probabilities=dict(answer.probabilities),
        prediction_set=list(answer.prediction_set),
        triage=answer.triage,
        heatmap=HeatmapFields(
            rows=answer.heatmap.rows, columns=answer.heatmap.columns, values=list(answer.heatmap.values)
        ),
    )


def _reasons(answer: Answer) -> list[ReasonFields]:
    reasons = answer.reasons if isinstance(answer, Prediction) else (answer,)
    return [ReasonFields(code=str(reason.code), sentence=reason.sentence) for reason in reasons]


def _object(finding: Finding) -> ObjectFields:
    upload, file = finding.upload, finding.file
    facts = finding.answer.facts if isinstance(finding.answer, Prediction | Rejection) else None
    return ObjectFields(
        bucket=upload.bucket,
        key=upload.key,
        version=upload.version,
        etag=upload.etag or file.etag,
        bytes=file.bytes,
        sha256=file.sha256,
        format=facts.format if facts else None,
        width=facts.width if facts else None,
        height=facts.height if facts else None,
    )
