"""Records of schema 1, one of them golden."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

from handler.errors import SupersededError, TryAgainError
from handler.intake.events import Upload
from handler.store.record import FileFacts, Finding, Record, build_record
from model_layer import Heatmap, ImageFacts, Prediction, Reason, ReferralCode, Rejection, RejectionCode, Status

GOLDEN = Path(__file__).parents[1] / "golden" / "record-1.json"
BUNDLE = SimpleNamespace(name="dermbatch-vgg16", version="1.0.0", digest="sha256:" + "9f" * 32)
UPLOAD = Upload(
    bucket="dermbatch-images",
    key="clinic/a+b%20c.jpg",
    version="ExampleVersionId0000000000000001",
    etag="d41d8cd98f00b204e9800998ecf8427e",
    uploaded_at="2026-11-23T09:30:00.125Z",
)
PREDICTION = Prediction(
    status=Status.REFERRED,
    label="mel",
    label_name="melanoma",
    confidence=0.431207,
    probabilities={
        "nv": 0.402,
        "mel": 0.431207,
        "bkl": 0.1,
        "bcc": 0.05,
        "akiec": 0.01,
        "scc": 0.004793,
        "vasc": 0.001,
        "df": 0.001,
    },
    prediction_set=("mel", "nv", "bkl"),
    triage="urgent",
    reasons=(
        Reason(
            ReferralCode.UNCERTAIN, "The model's confidence of 43% is under the 60% from which on it stands by a label."
        ),
    ),
    heatmap=Heatmap(2, 3, (0, 12, 40, 7, 100, 55)),
    facts=ImageFacts("jpeg", 4032, 3024),
)


def golden_record() -> Record:
    return build_record(
        Finding(
            UPLOAD,
            PREDICTION,
            FileFacts(UPLOAD.etag, 3_141_592, "ab" * 32),
            {"fetch": 41.26, "decode": 43.04, "infer": 67.0},
        ),
        BUNDLE,
        "11111111-2222-3333-4444-555555555555",
        datetime(2026, 11, 23, 9, 30, 2, 500_000, UTC),
    )


TODAY = date(2026, 11, 23)
ANSWERS = {
    "failed": TryAgainError("out_of_time", "There was no time."),
    "superseded": SupersededError("deleted", "The object was deleted."),
    "rejected": Rejection(RejectionCode.BLANK),
    "referred": PREDICTION,
}
RANK = {"failed": 0, "superseded": 1, "rejected": 2, "referred": 2}


def a_record(status: str = "referred", key: str = "a.jpg", at: datetime | None = None, **changes):
    upload = replace(UPLOAD, key=key)
    record = build_record(
        Finding(upload, ANSWERS[status]), BUNDLE, "request", at or datetime(2026, 11, 23, 9, tzinfo=UTC)
    )
    return {**record, **changes}
