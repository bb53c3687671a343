"""The second Lambda's entry point: `handler.housekeeping.lambda_handler`, in the same image as the worker's."""

from __future__ import annotations

from typing import Any

from handler.configuration import Settings
from handler.housekeeper import Housekeeper
from handler.telemetry import logger, metrics

housekeeper = Housekeeper.start(Settings.from_environment(decodes=False))


@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Erases what was removed, and records what was given up; returns the messages to be tried again."""
    logger.append_keys(request_id=context.aws_request_id)
    return housekeeper.handle(event, context)
