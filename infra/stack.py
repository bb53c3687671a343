"""Deploys template.yaml to the embedded AWS: bucket, queues, policies and table. Reads the functions' settings.

The template is the only source: nothing of it is repeated here. `infra.worker_loop` plays the functions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from infra.embedded_aws import Endpoint
from infra.template import (
    HOUSEKEEPER,
    TEMPLATE,
    WORKER,
    SettingPath,
    function_settings,
    queue_functions,
    read_template,
    sqs_events,
    without_functions,
)
from model_layer.errors import UserError

ACCOUNT = "000000000000"  # ministack's
_WAITING = {"Delay": 0.1, "MaxAttempts": 300}


class StackError(UserError):
    """The template could not be deployed, or lacks what a local run expects."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue that feeds the function, with the settings of its SQS event; times in seconds."""

    name: str
    queue_url: str
    queue_arn: str
    spent_url: str
    """Where SQS moves a message that has used up its receives; from a worker's lane, a queue of the housekeeper's."""
    dlq_url: str
    """Where a message ends that nobody can settle."""
    batch_size: int
    window: float
    max_receives: int
    visibility_timeout: int
    reports_item_failures: bool


@dataclass(frozen=True, slots=True)
class Stack:
    """The deployed stack, as one of its functions has it: the worker, unless it is another stack's `housekeeper`.

    `environment` holds the function's variables; `timeout` is in seconds, `memory` in MB; `lanes` feed the function.
    """

    endpoint: Endpoint
    name: str
    bucket: str
    table: str
    function: str
    timeout: int
    memory: int
    environment: Mapping[str, str]
    lanes: Mapping[str, Lane]
    housekeeper: "Stack | None" = None
    """The same stack as the housekeeper has it; None in itself."""

    @property
    def function_arn(self) -> str:
        return f"arn:aws:lambda:{self.endpoint.region}:{ACCOUNT}:function:{self.function}"

    @property
    def live(self) -> Lane:
        """The lane of new uploads, which the bucket notifies."""
        return self.lanes["Live"]

    @property
    def queue_url(self) -> str:
        return self.live.queue_url

    @property
    def dlq_url(self) -> str:
        return self.live.dlq_url


def deploy(
    endpoint: Endpoint,
    template: Path = TEMPLATE,
    *,
    name: str = "dermbatch",
    parameters: Mapping[str, str | int] | None = None,
    exists: bool = False,
) -> Stack:
    """Create the stack on the embedded AWS, or update the one that `exists`. `parameters` override the defaults.

    Raises StackError with CloudFormation's reason if a resource can't be created.
    """
    source = read_template(template)
    functions = queue_functions(source)
    settings = function_settings(functions)
    given = {"EndpointUrl": endpoint.url} if "EndpointUrl" in source.get("Parameters", {}) else {}
    put = _update if exists else _create
    outputs = put(
        endpoint, name, without_functions(source, settings), given | {k: str(v) for k, v in (parameters or {}).items()}
    )
    value = {path: outputs[output] for output, (path, _) in settings.items() if output in outputs}
    resources = _resources(endpoint, name)

    def seen_by(function: str) -> Stack:
        own = {path[1:]: text for path, text in value.items() if path[0] == function}
        return Stack(
            endpoint=endpoint,
            name=name,
            bucket=_only(resources, "AWS::S3::Bucket"),
            table=_only(resources, "AWS::DynamoDB::Table"),
            function=f"{name}-{function}",
            timeout=int(own["Timeout",]),
            memory=int(own["MemorySize",]),
            environment={path[1]: text for path, text in own.items() if path[0] == "Environment"},
            lanes={lane: _lane(endpoint, lane, own) for lane in sqs_events(functions[function])},
        )

    return replace(seen_by(WORKER), housekeeper=seen_by(HOUSEKEEPER))


def _create(
    endpoint: Endpoint, name: str, template: Mapping[str, Any], parameters: Mapping[str, str]
) -> dict[str, str]:
    cloudformation = endpoint.client("cloudformation")
    try:
        cloudformation.create_stack(**_stack_arguments(name, template, parameters), OnFailure="DO_NOTHING")
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=_WAITING)
    except ClientError as error:
        raise StackError(f"The stack was refused: {error.response['Error']['Message']}") from error
    except WaiterError as error:
        raise StackError(f"The stack could not be created: {_first_failure(cloudformation, name)}") from error
    return _outputs(cloudformation, name)


def _update(
    endpoint: Endpoint, name: str, template: Mapping[str, Any], parameters: Mapping[str, str]
) -> dict[str, str]:
    """Changes what differs from the template and parameters that the stack has; often that is nothing."""
    cloudformation = endpoint.client("cloudformation")
    try:
        cloudformation.update_stack(**_stack_arguments(name, template, parameters))
        cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=_WAITING)
    except ClientError as error:
        if "No updates are to be performed" not in error.response["Error"]["Message"]:
            raise StackError(f"The stack was refused: {error.response['Error']['Message']}") from error
    except WaiterError as error:
        raise StackError(f"The stack could not be updated: {_first_failure(cloudformation, name)}") from error
    return _outputs(cloudformation, name)


def _stack_arguments(name: str, template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "StackName": name,
        "TemplateBody": json.dumps({key: section for key, section in template.items() if section}),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }


def _outputs(cloudformation: Any, name: str) -> dict[str, str]:
    described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _first_failure(cloudformation: Any, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("FAILED")]
    if not failed:
        return "no resource says why."
    return f"{failed[0]['LogicalResourceId']}: {failed[0].get('ResourceStatusReason', 'no reason given')}"


def _resources(endpoint: Endpoint, name: str) -> list[tuple[str, str]]:
    listed = endpoint.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
    return [(resource["ResourceType"], resource["PhysicalResourceId"]) for resource in listed]


def _only(resources: list[tuple[str, str]], kind: str) -> str:
    found = [physical for resource_type, physical in resources if resource_type == kind]
    if len(found) != 1:
        raise StackError(f"The stack holds {len(found)} resources of the type {kind}; exactly one was expected.")
    return found[0]


def _lane(endpoint: Endpoint, name: str, value: Mapping[SettingPath, str]) -> Lane:
    return lane_of(
        endpoint.client("sqs"),
        value[name, "queue_url"],
        name,
        batch_size=int(value[name, "BatchSize"]),
        window=float(value[name, "Window"]),
        reports_item_failures=value[name, "Reports"] == "true",
    )


def lane_of(
    sqs: Any, queue_url: str, name: str, *, batch_size: int, window: float, reports_item_failures: bool = True
) -> Lane:
    """The lane of a queue that exists: receives, visibility and dead-letter queue are among its attributes.

    Raises:
        KeyError: the queue has no dead-letter queue.
    """
    attributes = _attributes(sqs, queue_url)
    redrive = json.loads(attributes["RedrivePolicy"])
    return Lane(
        name=name,
        queue_url=queue_url,
        queue_arn=attributes["QueueArn"],
        spent_url=(spent := _target(sqs, redrive)),
        dlq_url=_end_of_the_way(sqs, spent),
        batch_size=batch_size,
        window=window,
        max_receives=int(redrive["maxReceiveCount"]),
        visibility_timeout=int(attributes["VisibilityTimeout"]),
        reports_item_failures=reports_item_failures,
    )


def _target(sqs: Any, redrive: Mapping[str, Any]) -> str:
    return str(sqs.get_queue_url(QueueName=redrive["deadLetterTargetArn"].rsplit(":", 1)[1])["QueueUrl"])


def _end_of_the_way(sqs: Any, queue_url: str) -> str:
    """Where redrive policies lead from this queue."""
    redrive = _attributes(sqs, queue_url).get("RedrivePolicy")
    return _end_of_the_way(sqs, _target(sqs, json.loads(redrive))) if redrive else queue_url


def _attributes(sqs: Any, queue_url: str) -> dict[str, str]:
    attributes: dict[str, str] = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    return attributes
