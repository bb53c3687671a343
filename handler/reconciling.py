"""The third Lambda's entry point: `handler.reconciling.lambda_handler`, in the same image as the worker's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from handler.configuration import ReconcilerSettings
from handler.reconciler import Reconciler
from handler.telemetry import logger, metrics, report_reconciliation

reconciler = Reconciler.start(ReconcilerSettings.from_environment())


@metrics.log_metrics
def lambda_handler(_event: object, context: Any) -> dict[str, Any]:
    """Sends uploads without a record through the bulk lane; returns what it found. The event says nothing but "now"."""
    logger.append_keys(request_id=context.aws_request_id)
    run = reconciler.run(lambda: context.get_remaining_time_in_millis() / 1000)
    report_reconciliation(run)
    return asdict(run)
