"""The examples that OpenAPI shows."""

from __future__ import annotations

from typing import Any

from handler.store.record import NOTICE

IMAGE = "dermbatch-images/uploads/2026/11/25/3f0c9a5b7d1e4f628a90b1c2d3e4f506"

_MODEL = {"name": "vgg16-skin", "version": "2026.11.26-c204a45c", "digest": "sha256:edcfad2a" + "0" * 56}

_ANSWERED: dict[str, Any] = {
    "schema": 1,
    "status": "referred",
    "label": "mel",
    "label_name": "melanoma",
    "confidence": 0.62,
    "probabilities": {"nv": 0.33, "mel": 0.62, "bkl": 0.05},
    "prediction_set": ["mel", "nv"],
    "triage": "urgent",
    "heatmap": {"rows": 2, "columns": 2, "values": [0, 12, 40, 100]},
    "reasons": [
        {"code": "uncertain", "sentence": "The model is not sure enough to stand by this label; a person should look."}
    ],
    "model": _MODEL,
    "predicted_at": "2026-11-25T09:30:02.500Z",
    "request_id": "11111111-2222-3333-4444-555555555555",
    "notice": NOTICE,
}
_FILE = {"bytes": 3141592, "sha256": "ab" * 32, "format": "jpeg", "width": 4032, "height": 3024}

ANSWER = {
    "image": None,
    "version": None,
    **_ANSWERED,
    "object": {"bucket": None, "key": None, "version": None, "etag": None, **_FILE},
    "uploaded_at": None,
    "timings_ms": {"decode": 43.0, "infer": 17.0},
}

_BUCKET, _, _KEY = IMAGE.partition("/")
_RECORD = {
    "image": IMAGE,
    "version": f"Example.Version.1#{_MODEL['version']}",
    **_ANSWERED,
    "object": {"bucket": _BUCKET, "key": _KEY, "version": "Example.Version.1", "etag": "d41d8cd98f00b204", **_FILE},
    "uploaded_at": "2026-11-25T09:30:00.125Z",
    "timings_ms": {"fetch": 41.3, "decode": 43.0, "infer": 17.0},
}
_HISTORY = {"image": IMAGE, "records": [_RECORD], "notice": NOTICE}

_PREDICTIONS = {
    "predictions": [
        {name: _RECORD[name] for name in ("image", "version", "status", "label", "confidence", "triage")}
        | {"reasons": None, "predicted_at": _RECORD["predicted_at"]}
    ],
    "next": None,
    "notice": NOTICE,
}

_UPLOAD = {
    "image": IMAGE,
    "url": f"https://{_BUCKET}.s3.eu-central-1.amazonaws.com/",
    "method": "POST",
    "fields": {"key": _KEY, "policy": "...", "x-amz-signature": "..."},
    "max_bytes": 33554432,
    "expires_at": "2026-11-25T09:45:00.000Z",
    "notice": NOTICE,
}

_ERASED = {"image": IMAGE, "versions": 2, "records": 2, "notice": NOTICE}

_MODEL_AND_LIMITS = {
    **_MODEL,
    "labels": [{"code": "mel", "name": "melanoma", "malignant": True}],
    "input_size": 224,
    "kinds": ["clinical", "dermoscopic"],
    "max_image_bytes": 33554432,
    "max_image_pixels": 51000000,
    "notice": NOTICE,
}


ANSWERS: dict[tuple[str, str, str], dict[str, Any]] = {
    ("/v1/classify", "post", "200"): ANSWER,
    ("/v1/uploads", "post", "201"): _UPLOAD,
    ("/v1/uploads/relay", "post", "201"): {"image": IMAGE, "notice": NOTICE},
    ("/v1/predictions", "get", "200"): _PREDICTIONS,
    ("/v1/prediction", "get", "200"): _HISTORY,
    ("/v1/prediction", "delete", "202"): _ERASED,
    ("/v1/model", "get", "200"): _MODEL_AND_LIMITS,
}
"""By path, method and status."""


def _problem(status: int, title: str, code: str, detail: str) -> dict[str, Any]:
    head = {"type": "about:blank", "title": title, "status": status}
    return {**head, "code": code, "detail": detail, "notice": NOTICE}


PROBLEMS: dict[int, tuple[str, dict[str, Any] | None]] = {
    400: (
        "The body is not what its Content-Type says, or holds several files.",
        _problem(
            400, "Bad Request", "several_files", "The form holds several files; send one image with each request."
        ),
    ),
    401: ("The key is missing or wrong.", None),
    403: ("Another site's page asked, or the ticket is not valid.", None),
    404: (
        "There is nothing under this name.",
        _problem(
            404, "Not Found", "no_record", "There is no record of this image; one that was just uploaded has one soon."
        ),
    ),
    408: ("The body did not arrive in time.", None),
    413: (
        "The file is too large.",
        _problem(
            413,
            "Content Too Large",
            "too_large",
            "The file is larger than 33554432 bytes; save it at a higher compression.",
        ),
    ),
    415: ("The body is not a form.", None),
    421: ("The service does not answer under this name.", None),
    422: (
        "The image cannot be classified, or a parameter does not fit.",
        _problem(
            422,
            "Unprocessable Content",
            "not_an_image",
            "The file is not an image; upload a photograph as JPEG, PNG, WebP, TIFF, HEIC or DICOM.",
        ),
    ),
    500: ("The service met an unforeseen error.", None),
    501: ("This service was started without a table and a bucket.", None),
    503: (
        "Every place is taken, the model is being loaded, or the store does not answer.",
        _problem(503, "Service Unavailable", "busy", "Too many images are being classified; try again in a moment."),
    ),
}
"""By status: what it means, and an example."""
