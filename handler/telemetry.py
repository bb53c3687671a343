"""Logs and metrics: one short line and a few numbers for each image.

CloudWatch bills both by the byte. So a line says what differs between images, and a field that would say the usual is
left out: that the record was written and the message was received for the first time. The function, its memory and the
stack are the same in all lines of a log group.

Both name the model's version: in every line, and as a property of the metrics. A property finds them in the log, where
a dimension would make custom metrics of each version's, paid for by the month, which no alarm reads.

No object key, and no text of a library's exception, is logged above DEBUG: a file name may be a person's name. An
image is identified by its pseudonym (`handler.pseudonyms`).
"""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from handler.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from handler.errors import TryAgainError
    from handler.flow.stages import Outcome
    from handler.intake.messages import Batch, Message, Removal, Upload
    from handler.pseudonyms import Pseudonyms
    from handler.reconciler import Run

NAME = "dermbatch"

_service = os.environ.get("POWERTOOLS_SERVICE_NAME") or NAME

_namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAME

logger = Logger(service=_service, location=None, xray_trace_id=None)
logger.remove_keys(["service"])
metrics = Metrics(namespace=_namespace, service=_service)


def report_start(processor: str, prepared_on: str) -> None:
    """That a worker started on `processor` (`handler.processor`), counted for each kind of processor.

    After a restore from a snapshot its kernels are those for `prepared_on`.
    """
    dimensions = {"service": _service, "processor": processor}
    with single_metric("Started", MetricUnit.Count, 1, namespace=_namespace, default_dimensions=dimensions):
        pass
    restored: dict[str, Any] = {} if processor == prepared_on else {"prepared_on": prepared_on}
    logger.info("worker started", processor=processor, **restored)


def report_batch(batch: Batch, uploads: int, model: str) -> None:
    """The size of one event, and which parts of it could not be understood. `model` is the version that answers it."""
    logger.append_keys(model=model)
    metrics.add_metadata("model", model)
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


def report_removal(removal: Removal, erased: int | None, error: TryAgainError | None, pseudonyms: Pseudonyms) -> None:
    """What became of one removed object's records; `erased` is their number, None where it is only passed on."""
    if erased is not None:
        metrics.add_metric("Erased", MetricUnit.Count, erased)
    metrics.add_metric("TryAgain", MetricUnit.Count, 1 if error else 0)
    fields: dict[str, Any] = {"image": pseudonyms.in_log(removal.image), "version": removal.version, "erased": erased}
    if not error:
        logger.info("removal passed on" if erased is None else "removal", **fields)
    else:
        logger.warning("removal to try again", error=error.sentence, **fields)
        _report_defect(error)


def report_unbegun(count: int) -> None:
    """Uploads for which there was no time: one line for all, since one message may name thousands."""
    for _ in range(count):  # one sample each, as for every other image: alarms take the number of samples for images
        metrics.add_metric("TryAgain", MetricUnit.Count, 1)
    logger.warning("images handed back unbegun", count=count)


def report_outcome(outcome: Outcome, message: Message, pseudonyms: Pseudonyms) -> None:
    """What became of one upload, which `message` named."""
    for stage, ms in outcome.timings_ms.items():
        metrics.add_metric(f"{stage.capitalize()}Time", MetricUnit.Milliseconds, round(ms, 1))
    if outcome.status and outcome.written:
        metrics.add_metric(outcome.status.capitalize(), MetricUnit.Count, 1)
    metrics.add_metric("TryAgain", MetricUnit.Count, 1 if outcome.error else 0)
    metrics.add_metric("AlreadyRecorded", MetricUnit.Count, 0 if outcome.error or outcome.written else 1)

    fields: dict[str, Any] = {
        "image": pseudonyms.in_log(outcome.upload.image),
        "version": outcome.upload.object_version,
        "status": outcome.status,
        "written": None if outcome.written else False,
        "removed": outcome.removed or None,
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


def report_given_up(uploads: Iterable[Upload], message: Message, pseudonyms: Pseudonyms) -> None:
    """Uploads of a message without receives left that got their `failed` record only now."""
    for upload in uploads:
        metrics.add_metric("Failed", MetricUnit.Count, 1)
        image, version = pseudonyms.in_log(upload.image), upload.object_version
        logger.warning("image given up", image=image, version=version, correlation_id=message.id)


def report_letter(message: Message, error: TryAgainError | None, *, dead: bool) -> None:
    """How the housekeeper left a message: done, a dead letter, or to come again."""
    fields: dict[str, Any] = {"correlation_id": message.id, "receives": message.receives}
    if error:
        logger.warning("message to try again", error=error.sentence, **fields)
        _report_defect(error)
    elif dead:
        logger.warning("dead letter", uploads=len(message.uploads), problems=len(message.problems), **fields)


def report_reconciliation(run: Run) -> None:
    """What one comparison of bucket and table has found; also that it found nothing, which shows that it ran."""
    metrics.add_metric("Unrecorded", MetricUnit.Count, run.unrecorded)
    log = logger.warning if run.unrecorded else logger.info
    log("bucket and table compared", objects=run.compared, unrecorded=run.unrecorded, sent=run.sent, ended=run.ended)


def _report_defect(error: TryAgainError) -> None:
    if error.code == ErrorCode.INTERNAL_ERROR:
        logger.error(error.sentence, raised_at=_lines_of(error.__cause__))


def _lines_of(error: BaseException | None) -> list[str]:
    """Where `error` was raised, as lines of code, without its text, which may contain a key."""
    return traceback.format_tb(error.__traceback__) if error else []
