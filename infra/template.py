"""template.yaml as data, and the part of it that an emulator can run without Docker.

That part has no functions, and so no roles, logs, alarms and dashboard. The functions' settings (environment, memory,
timeout, SQS events) become stack outputs instead, so that the same CloudFormation engine resolves them as the rest.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from model_layer.errors import UserError

_IN_CLONE = Path(__file__).resolve().parent.parent / "template.yaml"
TEMPLATE = _IN_CLONE if _IN_CLONE.exists() else Path(__file__).with_name("template.yaml")
"""In an installed package it lies beside this module, where a clone has a link to it."""

_DEPLOYED = ("AWS::S3::", "AWS::SQS::", "AWS::DynamoDB::", "AWS::SecretsManager::")
_FUNCTION = "AWS::Serverless::Function"
WORKER, HOUSEKEEPER = "Worker", "Housekeeper"
"""The functions that queues feed; the service's function is invoked by an HTTP API."""

SettingPath = tuple[str, ...]


class TemplateError(UserError):
    """The template lacks something that a local run needs."""


def read_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template in CloudFormation's JSON form, where `!Ref X` is `{"Ref": "X"}`."""
    with path.open(encoding="utf-8") as file:
        template = yaml.load(file, Loader=_TemplateLoader)  # noqa: S506 # nosec B506 - a SafeLoader that knows the intrinsic tags
    if not isinstance(template, dict) or "Resources" not in template:
        raise TemplateError(f"{path.name} holds no Resources section, so it is not a template.")
    return template


class _TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short intrinsic tags."""


def _intrinsic(loader: _TemplateLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_TemplateLoader.add_multi_constructor("!", _intrinsic)


def queue_functions(template: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The properties of the two functions that queues feed: the worker's and the housekeeper's, by their names."""
    functions = {
        key: res["Properties"]
        for key, res in template["Resources"].items()
        if res["Type"] == _FUNCTION and res["Properties"].get("Events")
    }
    if set(functions) != {WORKER, HOUSEKEEPER}:
        raise TemplateError(
            f"The template holds the functions {', '.join(functions) or 'none'} with events; a local run needs "
            f"{WORKER} and {HOUSEKEEPER}."
        )
    return functions


def sqs_events(properties: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: event["Properties"] for name, event in properties["Events"].items() if event["Type"] == "SQS"}


def function_settings(functions: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[SettingPath, Any]]:
    """The functions' settings that a local run needs: output name -> (path, expression), the function's name first."""
    expressions = {
        (function, *path): expression
        for function, properties in functions.items()
        for path, expression in _expressions(properties).items()
    }
    return {f"Setting{number}": item for number, item in enumerate(expressions.items())}


def _expressions(properties: Mapping[str, Any]) -> dict[SettingPath, Any]:
    expressions: dict[SettingPath, Any] = {
        ("Timeout",): properties["Timeout"],
        ("MemorySize",): properties["MemorySize"],
    }
    for variable, expression in properties["Environment"]["Variables"].items():
        expressions["Environment", variable] = expression
    for lane, event in sqs_events(properties).items():
        queue_id = event["Queue"]["Fn::GetAtt"][0]
        expressions[lane, "queue_url"] = {"Ref": queue_id}
        expressions[lane, "BatchSize"] = event.get("BatchSize", 10)
        expressions[lane, "Window"] = event.get("MaximumBatchingWindowInSeconds", 0)
        expressions[lane, "Reports"] = json.dumps("ReportBatchItemFailures" in event.get("FunctionResponseTypes", []))
    return expressions


def without_functions(template: Mapping[str, Any], settings: Mapping[str, tuple[SettingPath, Any]]) -> dict[str, Any]:
    """The resources that an emulator can run, with the functions' settings as outputs."""
    kept = {key: res for key, res in template["Resources"].items() if res["Type"].startswith(_DEPLOYED)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": template.get("Parameters", {}),
        "Conditions": template.get("Conditions", {}),
        "Mappings": template.get("Mappings", {}),
        "Resources": kept,
        "Outputs": {output: {"Value": expression} for output, (_, expression) in settings.items()}
        | {
            name: output for name, output in template.get("Outputs", {}).items() if _names(output["Value"]) <= set(kept)
        },
    }


def _names(expression: Any) -> set[str]:
    """The resources that an output's `Ref` or `Fn::GetAtt` names."""
    match expression:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            return {name}
        case _:
            return set()
