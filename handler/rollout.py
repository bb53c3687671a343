"""The Lambda that CodeDeploy asks before a new version of the worker gets uploads: `handler.rollout.lambda_handler`.

It invokes the new version itself, so that what is checked is what would get the uploads: its image, memory, settings
and role. The version answers with the reasons against itself (`handler.worker.Worker.check`). With any reason, or
without an answer, CodeDeploy leaves all traffic with the former version, and the deployment fails with that sentence in
this function's log.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import boto3
from botocore.config import Config

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

CHECK_EVENT = {"dermbatch": "check"}
"""Asks a worker whether it should get uploads. No source of uploads can send it."""

# A version that has just been made reads its whole image at the first start. The function's own timeout is 120 s.
_PATIENT = Config(read_timeout=100, connect_timeout=5, retries={"total_max_attempts": 1})


def lambda_handler(event: dict[str, Any], _context: object = None) -> None:
    """Tells CodeDeploy whether the version that `NEW_VERSION` names may get uploads. `event` is CodeDeploy's."""
    try:
        problems = _problems_of(os.environ["NEW_VERSION"])
    except Exception as error:  # noqa: BLE001 (whatever went wrong, the version has not shown that it works)
        problems = [f"The new version gave no answer: {type(error).__name__}."]
    for problem in problems:
        logger.error(problem)
    boto3.client("codedeploy").put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status="Failed" if problems else "Succeeded",
    )


def _problems_of(version: str) -> list[str]:
    answer = boto3.client("lambda", config=_PATIENT).invoke(FunctionName=version, Payload=json.dumps(CHECK_EVENT))
    told = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        return [f"The new version failed: {told.get('errorType', 'for an unknown reason')}."]
    logger.info("The new version answers with model %s.", told["model"])
    return [str(problem) for problem in told["problems"]]
