"""What the service takes and gives, for OpenAPI. The record itself is `handler.store.record.Record`, schema 1."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from handler.store.record import NOTICE
from model_layer import Status

Image = Annotated[
    str,
    StringConstraints(min_length=5, max_length=63 + 1 + 1024, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[\s\S]+$"),
]
"""`<bucket>/<key>`."""


class Triage(StrEnum):
    """Whether the malignant labels together pass the model's threshold."""

    URGENT = "urgent"
    ROUTINE = "routine"


def _day(value: Any) -> Any:
    """Only `yyyy-mm-dd`: pydantic would take a number for seconds since 1970."""
    if isinstance(value, str) and len(value) != len("2026-11-25"):
        raise ValueError("a day is written yyyy-mm-dd")
    return value


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


class Filters(BaseModel):
    """Which predictions are asked for."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[
        str | None, Field(pattern="^[A-Za-z0-9_-]{1,64}$", description="Only this label, by its code.")
    ] = None
    status: Annotated[Status | None, Field(description="Only this status.")] = None
    day: Annotated[
        list[Day], Field(max_length=31, description="Days of the prediction (UTC); may be repeated. Default: today.")
    ] = []
    since: Annotated[Day | None, Field(description="This day and all since, instead of `day`; 62 days at most.")] = None
    min_confidence: Annotated[
        float | None, Field(ge=0, le=1, allow_inf_nan=False, description="Only from this calibrated confidence on.")
    ] = None
    triage: Annotated[Triage | None, Field(description="Only this triage.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Most entries of one answer.")] = 50
    cursor: Annotated[str | None, Field(max_length=4096, description="`next` of the answer before this one.")] = None


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    notice: Annotated[str, Field(json_schema_extra={"const": NOTICE})] = NOTICE


class Reason(BaseModel):
    """Why an image was referred, rejected, superseded or failed."""

    code: str
    sentence: str


class Heatmap(BaseModel):
    """Where the evidence for the label lies in the image's centre square."""

    rows: int
    columns: int
    values: Annotated[list[int], Field(description="rows x columns levels, row by row, 0 to 100.")]


class File(BaseModel):
    """Facts about the image's file."""

    bucket: str | None
    key: str | None
    version: str | None
    etag: str | None
    bytes: int | None
    sha256: str | None
    format: str | None
    width: int | None
    height: int | None


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str
    digest: str


class Record(_Answer):
    """What became of one image under one model: schema 1. A field is null where there is nothing to say."""

    image: Annotated[str | None, Field(description="`<bucket>/<key>`; null for an image that was not stored.")]
    version: Annotated[str | None, Field(description="`<object version>#<model version>`; null as `image` is.")]
    schema_: Annotated[Literal[1], Field(alias="schema")]
    status: Status
    label: str | None
    label_name: str | None
    confidence: Annotated[float | None, Field(ge=0, le=1, description="Calibrated probability of `label`.")]
    probabilities: dict[str, float] | None
    prediction_set: list[str] | None
    triage: Triage | None
    heatmap: Heatmap | None
    reasons: list[Reason]
    object: File
    model: ModelName
    uploaded_at: str | None
    predicted_at: str
    timings_ms: dict[str, float]
    request_id: str


class Entry(BaseModel):
    """A prediction in short, as the indexes hold it; null where an index does not hold a field."""

    image: str
    version: str
    status: Status
    label: str | None
    confidence: float | None
    triage: Triage | None
    reasons: list[Reason] | None
    predicted_at: str


class Predictions(_Answer):
    """One page of predictions."""

    predictions: list[Entry]
    next: Annotated[str | None, Field(description="Send it as `cursor` for the next page; null: this is the last.")]


class History(_Answer):
    """Every record of one image, the current ones first."""

    image: str
    records: list[Record]


class Erased(_Answer):
    """What was taken away now. Copies that are on their way are taken away as they come."""

    image: str
    versions: Annotated[int, Field(description="Versions of the object that were deleted from the bucket.")]
    records: Annotated[int, Field(description="Records that were erased from the table.")]


class Upload(_Answer):
    """Where to put one file: a form of these `fields`, in this order, and then the part `file`."""

    image: Annotated[str, Field(description="Ask for its record under this name.")]
    url: str
    method: Literal["POST"] = "POST"
    fields: dict[str, str]
    max_bytes: int
    expires_at: str


class Stored(_Answer):
    """A file that was relayed."""

    image: str


class Label(BaseModel):
    """One label that the model can give."""

    code: str
    name: str
    malignant: Annotated[bool, Field(description="Malignant or pre-malignant: counts towards `urgent`.")]


class Model(_Answer):
    """The model and its limits."""

    name: str
    version: str
    digest: str
    labels: list[Label]
    input_size: Annotated[int, Field(description="Side of the square that the network sees, in pixels.")]
    kinds: Annotated[list[str], Field(description="Kinds of photograph that the model tells apart.")]
    max_image_bytes: int
    max_image_pixels: int


class Health(_Answer):
    """The process lives, or is ready."""

    status: Literal["alive", "ready"]


class FieldError(BaseModel):
    """One parameter that does not fit."""

    where: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457. Programs decide by `code`."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    notice: Annotated[str, Field(json_schema_extra={"const": NOTICE})]
    errors: Annotated[list[FieldError] | None, Field(description="With `invalid_request`.")] = None
    record: Annotated[Record | None, Field(description="With an image that cannot be classified.")] = None
