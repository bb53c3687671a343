"""The Lambda's entry point: `handler.app.lambda_handler`.

The worker starts at import, in Lambda's initialisation phase (or before its snapshot is taken). A wrong setting ends
it there, in one sentence. The order of the imports matters for the cold start: the model starts to load before boto3
is imported.
"""

from __future__ import annotations

import importlib
import os
import random
from typing import Any

from handler.configuration import Settings
from handler.loading import begin_loading

settings = Settings.from_environment()
loading = begin_loading(settings)

from handler.processor import processor  # noqa: E402
from handler.rollout import CHECK_EVENT  # noqa: E402
from handler.telemetry import logger, metrics, report_start  # noqa: E402
from handler.worker import Worker  # noqa: E402


def prepare_restore(prepared_on: str) -> bool:
    """Registers what is done after each restore from a snapshot (SnapStart); returns whether Lambda offers that.

    Everything heavy is in the snapshot: modules, the parsed network with its memory planned by a first run, the
    clients. So are three things that belong to the moment when it was taken:

    - The state of `random`, which spreads retries in time: seeded afresh.
    - The kernels that ONNX Runtime chose for `prepared_on`, the processor that published the version. They stay, since
      the library chooses once for each process; a start on another processor is logged.
    - The role's temporary credentials, which botocore fetches from Lambda when the first client is made, over a
      connection that it leaves open. They stay until botocore fetches new ones, minutes before they expire.

    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
    """
    try:
        hooks = importlib.import_module("snapshot_restore_py")  # part of Lambda's own Python images
    except ImportError:
        return False
    hooks.register_after_restore(random.seed)
    hooks.register_after_restore(lambda: report_start(processor(), prepared_on))
    return True


worker = Worker.start(settings, loading)
started_on = processor()
prepare_restore(started_on)
if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":  # there no worker starts, a version is published
    report_start(started_on, started_on)


@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Classifies the uploads that `event` names; returns the messages to be tried again."""
    # Not Powertools' decorator: it adds 300 bytes to every line, and a variable makes it log events with their keys.
    logger.append_keys(request_id=context.aws_request_id)
    if event == CHECK_EVENT:
        return worker.check()
    return worker.handle(event, context)
