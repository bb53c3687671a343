"""Logs and metrics: one line and a few numbers for each image.

No object's key, and nothing that a library says about its arguments, is logged above DEBUG: a file name may be a
person's name. An image is told by the first digits of a hash of `<bucket>/<key>`.
"""

from __future__ import annotations

import hashlib
import os
import traceback
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

if TYPE_CHECKING:
    from handler.events import Batch, Message
    from handler.stages import Outcome

NAME = "dermbatch"

_service = os.environ.get("POWERTOOLS_SERVICE_NAME") or NAME

logger = Logger(service=_service)
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAME, service=_service)


def report_batch(batch: Batch, uploads: int) -> None:
    """The size of one event, and what in it could not be understood."""
    metrics.add_metric("BatchSize", MetricUnit.Count, uploads)
    for message in batch.messages:
        for problem in message.problems:
            metrics.add_metric("Unreadable", MetricUnit.Count, 1)
            logger.error(problem.sentence, correlation_id=message.id, receives=message.receives)


def report_outcome(outcome: Outcome, message: Message) -> None:
    """What became of one upload, which `message` named."""
    for stage, ms in outcome.timings_ms.items():
        metrics.add_metric(f"{stage.capitalize()}Time", MetricUnit.Milliseconds, ms)
    if outcome.status and outcome.written:
        metrics.add_metric(outcome.status.capitalize(), MetricUnit.Count, 1)
    metrics.add_metric("TryAgain", MetricUnit.Count, 1 if outcome.error else 0)
    metrics.add_metric("AlreadyRecorded", MetricUnit.Count, 0 if outcome.error or outcome.written else 1)

    fields: dict[str, Any] = {
        "image": hashlib.sha256(outcome.upload.image.encode()).hexdigest()[:12],
        "version": outcome.upload.object_version,
        "status": outcome.status,
        "written": outcome.written,
        "reasons": outcome.reasons,
        "ms": round(sum(outcome.timings_ms.values()), 1),
        "timings_ms": {stage: round(ms, 1) for stage, ms in outcome.timings_ms.items()},
        "correlation_id": message.id,
        "receives": message.receives,
    }
    if not outcome.error:
        logger.info("image", **fields)
    else:
        logger.warning("image to try again", error=outcome.error.sentence, **fields)
        if outcome.error.code == "internal_error":
            logger.error(outcome.error.sentence, raised_at=_lines_of(outcome.error.__cause__))
    logger.debug("image in clear", bucket=outcome.upload.bucket, key=outcome.upload.key)


def _lines_of(error: BaseException | None) -> list[str]:
    """Where `error` was raised, as lines of code: without its text, which may hold a key."""
    return traceback.format_tb(error.__traceback__) if error else []
