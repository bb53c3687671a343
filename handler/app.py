"""The Lambda's entry point: `handler.app.lambda_handler`.

The worker starts at import, in Lambda's initialisation phase (or before its snapshot is taken): a wrong setting ends it
there, in one sentence. The order of the imports is part of the cold start: the model is on its way before boto3 is.
"""

from __future__ import annotations

import importlib
import random
from typing import Any

from handler.configuration import Settings, begin_loading

settings = Settings.from_environment()
loading = begin_loading(settings)

from handler.telemetry import logger, metrics  # noqa: E402
from handler.worker import Worker  # noqa: E402


def draw_anew_after_restore() -> bool:
    """Has `random` seeded afresh by the system after each restore from a snapshot (SnapStart).

    Everything heavy is in the snapshot: modules, the parsed network with its memory planned by a first run, the
    clients. Nothing in it is an identity: no connection has been opened, no request id drawn. Only the state of
    `random`, which spreads retries in time, must differ between sandboxes, or all retries would come at the same
    moments. Returns whether there is a runtime to ask for it.
    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
    """
    try:
        hooks = importlib.import_module("snapshot_restore_py")  # part of Lambda's own Python images
    except ImportError:
        return False
    hooks.register_after_restore(random.seed)
    return True


worker = Worker.start(settings, loading)
draw_anew_after_restore()


@logger.inject_lambda_context(log_event=False)  # never: events hold keys
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Classifies the uploads that `event` speaks of; returns the messages to be tried again."""
    return worker.handle(event, context)
