"""Logs and metrics: one short line and a few numbers for each image.

CloudWatch bills both by the byte. So a line says what differs between images, and a field that would say the usual is
left out: that the record was written and the message was received for the first time. The function, its memory and the
stack are the same in all lines of a log group.

No object key, and no text of a library's exception, is logged above DEBUG: a file name may be a person's name. An
image is identified by the first digits of a hash of `<bucket>/<key>`.
"""

from __future__ import annotations

import hashlib
import os
import traceback
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from handler.errors import ErrorCode

if TYPE_CHECKING:
    from handler.errors import TryAgainError
    from handler.flow.delivery import RemovalOutcome
    from handler.flow.stages import Outcome
    from handler.intake.messages import Batch, Message

NAME = "dermbatch"

_service = os.environ.get("POWERTOOLS_SERVICE_NAME") or NAME

logger = Logger(service=_service, location=None, xray_trace_id=None)
logger.remove_keys(["service"])
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAME, service=_service)


def report_batch(batch: Batch, uploads: int) -> None:
    """The size of one event, and which parts of it could not be understood."""
    metrics.add_metric("BatchSize", MetricUnit.Count, uploads)
    if ignored := sum(message.ignored for message in batch.messages):
        metrics.add_metric("Ignored", MetricUnit.Count, ignored)
        logger.info("folder markers and system files ignored", count=ignored)
    for message in batch.messages:
        for problem in message.problems:
            metrics.add_metric("Unreadable", MetricUnit.Count, 1)
            if problem.code == ErrorCode.FOREIGN_BUCKET:
                metrics.add_metric("ForeignBucket", MetricUnit.Count, 1)
            logger.error(problem.sentence, correlation_id=message.id, receives=message.receives)


def report_removal(outcome: RemovalOutcome) -> None:
    """What became of one removed object's records."""
    removal, error = outcome.removal, outcome.error
    metrics.add_metric("Erased", MetricUnit.Count, outcome.erased)
    metrics.add_metric("TryAgain", MetricUnit.Count, 1 if error else 0)
    fields: dict[str, Any] = {"image": _hash(removal.image), "version": removal.version, "erased": outcome.erased}
    if not error:
        logger.info("removal", **fields)
    else:
        logger.warning("removal to try again", error=error.sentence, **fields)
        _report_defect(error)


def report_unbegun(count: int) -> None:
    """Uploads for which there was no time: one line for all, since one message may name thousands."""
    for _ in range(count):  # one sample each, as for every other image: alarms take the number of samples for images
        metrics.add_metric("TryAgain", MetricUnit.Count, 1)
    logger.warning("images handed back unbegun", count=count)


def report_outcome(outcome: Outcome, message: Message) -> None:
    """What became of one upload, which `message` named."""
    for stage, ms in outcome.timings_ms.items():
        metrics.add_metric(f"{stage.capitalize()}Time", MetricUnit.Milliseconds, round(ms, 1))
    if outcome.status and outcome.written:
        metrics.add_metric(outcome.status.capitalize(), MetricUnit.Count, 1)
    if outcome.erased:
        metrics.add_metric("Erased", MetricUnit.Count, 1)
    metrics.add_metric("TryAgain", MetricUnit.Count, 1 if outcome.error else 0)
    metrics.add_metric("AlreadyRecorded", MetricUnit.Count, 0 if outcome.error or outcome.written else 1)

    fields: dict[str, Any] = {
        "image": _hash(outcome.upload.image),
        "version": outcome.upload.object_version,
        "status": outcome.status,
        "written": None if outcome.written else False,
        "erased": outcome.erased or None,
        "reasons": outcome.reasons or None,
        "timings_ms": {stage: round(ms, 1) for stage, ms in outcome.timings_ms.items()} or None,
    }
    if outcome.error or message.receives > 1:
        fields |= {"correlation_id": message.id, "receives": message.receives}
    if not outcome.error:
        logger.info("image", **fields)
    else:
        logger.warning("image to try again", error=outcome.error.sentence, **fields)
        _report_defect(outcome.error)
    logger.debug("image in clear", bucket=outcome.upload.bucket, key=outcome.upload.key)


def _hash(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()[:12]


def _report_defect(error: TryAgainError) -> None:
    if error.code == ErrorCode.INTERNAL_ERROR:
        logger.error(error.sentence, raised_at=_lines_of(error.__cause__))


def _lines_of(error: BaseException | None) -> list[str]:
    """Where `error` was raised, as lines of code, without its text, which may contain a key."""
    return traceback.format_tb(error.__traceback__) if error else []
