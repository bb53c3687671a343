"""The Lambda's entry point: `handler.app.lambda_handler`.

The worker starts at import, in Lambda's initialisation phase (or before its snapshot is taken). A wrong setting ends
it there, in one sentence. The order of the imports matters for the cold start: the model starts to load before boto3
is imported.
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


def reseed_after_restore() -> bool:
    """Has `random` seeded afresh after each restore from a snapshot (SnapStart); returns whether Lambda offers that.

    Everything heavy is in the snapshot: modules, the parsed network with its memory planned by a first run, the
    clients. Nothing in it is unique, since no connection is open and no request id drawn. Only the state of `random`
    must differ between sandboxes: it spreads retries in time, and they would otherwise all come at the same moments.
    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
    """
    try:
        hooks = importlib.import_module("snapshot_restore_py")  # part of Lambda's own Python images
    except ImportError:
        return False
    hooks.register_after_restore(random.seed)
    return True


worker = Worker.start(settings, loading)
reseed_after_restore()


@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Classifies the uploads that `event` names; returns the messages to be tried again."""
    # Not Powertools' decorator: it adds 300 bytes to every line, and a variable makes it log events with their keys.
    logger.append_keys(request_id=context.aws_request_id)
    return worker.handle(event, context)
