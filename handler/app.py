"""The Lambda's entry point: `handler.app.lambda_handler`.

The worker starts at import, in Lambda's initialisation phase: a wrong setting ends it there, in one sentence.
"""

from __future__ import annotations

from typing import Any

from handler.configuration import Settings
from handler.telemetry import logger, metrics
from handler.worker import Worker

worker = Worker.start(Settings.from_environment())


@logger.inject_lambda_context(log_event=False)  # never: events hold keys
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Classifies the uploads that `event` speaks of; returns the messages to be tried again."""
    return worker.handle(event, context)
