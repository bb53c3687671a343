"""Records of schema 1 as `predictions.jsonl` holds them, one for each status."""

from __future__ import annotations

LABELS = ("nv", "mel", "bkl", "bcc", "akiec", "scc", "vasc", "df")


def record(key="a.jpg", status="classified", *, heatmap=None, **fields) -> dict:
    answered = status in ("classified", "referred")
    answer = {
        "label": "nv",
        "label_name": "melanocytic nevus",
        "confidence": 0.9,
        "probabilities": {label: 0.9 if label == "nv" else 0.1 / 7 for label in LABELS},
        "prediction_set": ["nv", "mel"],
        "triage": "routine",
        "heatmap": heatmap or {"rows": 7, "columns": 7, "values": [0] * 49},
    }
    reasons = [] if status == "classified" else [{"code": "blank", "sentence": "The image shows one even colour."}]
    return {
        "schema": 1,
        "image": f"bucket/{key}",
        "version": "v1#1.0.0",
        "status": status,
        **(answer if answered else dict.fromkeys(answer)),
        "reasons": reasons,
        "object": {"bucket": "bucket", "key": key, "version": "v1"},
        "model": {"name": "tiny", "version": "1.0.0", "digest": "sha256:" + "0" * 64},
        "timings_ms": {"fetch": 2.5, "decode": 1.0},
        "notice": "Research use only. Not a medical device.",
        **fields,
    }
