"""The whole of template.yaml, as an emulator with Docker can run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.template import queue_functions

if TYPE_CHECKING:
    from collections.abc import Mapping


def for_emulator(template: Mapping[str, Any], image: str, workers: int = 2) -> dict[str, Any]:
    """The whole template for an emulator with Docker, whose functions are `image` with at most `workers` on a lane.

    Leaves out alarms on several metrics, and what is written for people: a template that is handed over in the request
    may have 51,200 bytes (`sam deploy` hands it over in S3, where it may have a megabyte).

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
            resources[key] = {**resource, "Properties": {**resource["Properties"], "ImageUri": image}}
    bare = {key: {name: part for name, part in res.items() if name != "Metadata"} for key, res in resources.items()}
    parameters = {
        key: {name: part for name, part in parameter.items() if not name.endswith("Description")}
        for key, parameter in template["Parameters"].items()
    }
    sections = {name: section for name, section in template.items() if name not in {"Metadata", "Description"}}
    return {**sections, "Parameters": parameters, "Resources": bare}
