"""The whole of template.yaml, as an emulator with Docker can run it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from infra.template import queue_functions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.embedded_aws import Endpoint


def for_emulator(template: Mapping[str, Any], image: str, workers: int = 2) -> dict[str, Any]:
    """The whole template for an emulator with Docker, whose functions are `image` with at most `workers` on a lane.

    Leaves out alarms on several metrics, and CodeDeploy, which the emulator does not have.

    The limit of workers is a plain number, because the emulator's poller takes no parameter there.
    """
    resources = {
        key: resource for key, resource in template["Resources"].items() if "Metrics" not in resource["Properties"]
    }
    for name, properties in queue_functions(template).items():
        events = {
            lane: {**event, "Properties": {**event["Properties"], "ScalingConfig": {"MaximumConcurrency": workers}}}
            for lane, event in properties["Events"].items()
        }
        resources[name] = {**resources[name], "Properties": {**properties, "Events": events}}
    for key, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":  # SAM wants an image also where a condition makes none
            properties = {name: part for name, part in resource["Properties"].items() if name != "DeploymentPreference"}
            resources[key] = {**resource, "Properties": {**properties, "ImageUri": image}}
    return {**template, "Resources": resources}


def placed(endpoint: Endpoint, template: Mapping[str, Any]) -> str:
    """The address of `template` in a bucket, from where it may be larger than in a request; SAM deploys so too."""
    s3, bucket = endpoint.client("s3"), "templates"
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": endpoint.region})
    s3.put_object(Bucket=bucket, Key="template.json", Body=json.dumps(template).encode())
    return f"{endpoint.url}/{bucket}/template.json"
