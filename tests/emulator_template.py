"""The whole of template.yaml, as an emulator with Docker can run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.template import worker_function

if TYPE_CHECKING:
    from collections.abc import Mapping


def for_emulator(template: Mapping[str, Any], image: str, workers: int = 2) -> dict[str, Any]:
    """The whole template for an emulator with Docker, whose function is `image` with at most `workers` on a lane.

    Leaves out alarms on several metrics, and CodeDeploy, which the emulator does not have. The limit is a plain number,
    because the emulator's poller takes no parameter there. Without what only people and checkov read, since a request
    takes 51,200 bytes (SAM puts the template into a bucket, which takes a megabyte).
    """
    resources = {
        key: {part: value for part, value in resource.items() if part != "Metadata"}
        for key, resource in template["Resources"].items()
        if "Metrics" not in resource["Properties"]
    }
    function_id, function = worker_function(template)
    events = {
        name: {**event, "Properties": {**event["Properties"], "ScalingConfig": {"MaximumConcurrency": workers}}}
        for name, event in function["Properties"]["Events"].items()
    }
    resources[function_id] = {**function, "Properties": {**function["Properties"], "Events": events}}
    for key, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":  # SAM wants an image also where a condition makes none
            properties = {k: v for k, v in resource["Properties"].items() if k != "DeploymentPreference"}
            resources[key] = {**resource, "Properties": {**properties, "ImageUri": image}}
    return {**template, "Metadata": {}, "Resources": resources}
