"""The Lambda's entry point: `handler.app.lambda_handler`.

The worker starts at import, in Lambda's initialisation phase (or before its snapshot is taken): a wrong setting ends it
there, in one sentence. The order of the imports is part of the cold start: the model is on its way before boto3 is.
"""

from __future__ import annotations

from typing import Any

from handler.configuration import Settings
from handler.loading import begin_loading

settings = Settings.from_environment()
loading = begin_loading(settings)

from handler.snapshot import draw_anew_after_restore  # noqa: E402
from handler.telemetry import logger, metrics  # noqa: E402
from handler.worker import Worker  # noqa: E402

worker = Worker.start(settings, loading)
draw_anew_after_restore()


@logger.inject_lambda_context(log_event=False)  # never: events hold keys
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Classifies the uploads that `event` speaks of; returns the messages to be tried again."""
    return worker.handle(event, context)
