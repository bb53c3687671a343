"""template.yaml as AWS sees it: transformed by SAM's own translator, with the values of its parameters resolved."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from samtranslator.translator.transform import transform

from infra.template import read_template

NO_VALUE = {"Ref": "AWS::NoValue"}
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Region": "eu-central-1",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "dermbatch",
    "AWS::StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/dermbatch/0a1b",
}


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def transformed(source: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """The template after SAM, which writes the parameters' values into what it transforms itself."""
    values = {name: str(parameter["Default"]) for name, parameter in source["Parameters"].items()} | parameters
    image = json.loads(json.dumps(source))
    for function in ("Worker", "Housekeeper", "Reconciler", "Check", "ShadowWorker", "ApiFunction"):
        uri = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/{function.lower()}:1"
        image["Resources"][function]["Properties"]["ImageUri"] = uri
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        result: dict[str, Any] = transform(image, values, _NoManagedPolicies())
    return result


def resolved(template: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """The resources and outputs that CloudFormation would make: conditions decided, names and ARNs in place.

    A resource's `Ref` becomes `<its id>-name`, its `Arn` an ARN of that name, another attribute `<id>.<attribute>`.
    """
    values = {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}
    engine = _Engine(template, values | parameters)
    made = {
        key: engine.value(res)
        for key, res in template["Resources"].items()
        if "Condition" not in res or engine.condition(res["Condition"])
    }
    return {"Resources": made, "Outputs": {k: engine.value(v["Value"]) for k, v in template["Outputs"].items()}}


def default_template() -> dict[str, Any]:
    return transformed(read_template())


class _Engine:
    def __init__(self, template: dict[str, Any], parameters: dict[str, str]) -> None:
        self._template = template
        self._names: dict[str, Any] = {**PSEUDO, **parameters}
        for name, parameter in template["Parameters"].items():
            if parameter["Type"] == "CommaDelimitedList":
                self._names[name] = parameters[name].split(",")

    def condition(self, name: str) -> bool:
        return bool(self.value(self._template["Conditions"][name]))

    def value(self, node: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 (one case for each intrinsic function)
        match node:
            case {"Fn::If": [name, then, other]}:
                return self.value(then if self.condition(name) else other)
            case {"Fn::Equals": [one, other]}:
                return str(self.value(one)) == str(self.value(other))
            case {"Fn::Not": [one]}:
                return not self.value(one)
            case {"Ref": "AWS::NoValue"}:
                return NO_VALUE
            case {"Ref": name}:
                return self._names.get(name, f"{name}-name")
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._arn(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return f"{name}.{attribute}"
            case {"Fn::Sub": [text, names]}:
                return self._filled(text, {key: self.value(part) for key, part in names.items()})
            case {"Fn::Sub": text}:
                return self._filled(text, {})
            case {"Fn::Select": [index, parts]}:
                return self.value(parts)[int(index)]
            case {"Fn::Split": [mark, text]}:
                return self.value(text).split(mark)
            case {"Fn::Join": [mark, parts]}:
                return mark.join(self.value(parts))
            case {"Fn::FindInMap": [name, key, leaf]}:
                return self._template["Mappings"][name][key][leaf]
            case dict():
                values = {key: self.value(part) for key, part in node.items()}
                return {key: part for key, part in values.items() if part != NO_VALUE}
            case list():
                return [part for part in map(self.value, node) if part != NO_VALUE]
            case _:
                return node

    def _filled(self, text: str, names: dict[str, str]) -> str:
        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name in names:
                return str(names[name])
            reference = {"Fn::GetAtt": name.split(".", 1)} if "." in name else {"Ref": name}
            return str(self.value(reference))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def _arn(self, name: str) -> str:
        kind = self._template["Resources"][name]["Type"]
        place = f"{PSEUDO['AWS::Region']}:{PSEUDO['AWS::AccountId']}"
        arns = {
            "AWS::S3::Bucket": f"arn:aws:s3:::{self._bucket(name)}",
            "AWS::SQS::Queue": f"arn:aws:sqs:{place}:{name}-name",
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{place}:table/{name}-name",
            "AWS::Lambda::Function": f"arn:aws:lambda:{place}:function:{name}-name",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{place}:log-group:{name}-name:*",
            "AWS::KMS::Key": f"arn:aws:kms:{place}:key/{name}-name",
            "AWS::Events::Rule": f"arn:aws:events:{place}:rule/{name}-name",
            "AWS::IAM::Role": f"arn:aws:iam::{PSEUDO['AWS::AccountId']}:role/{name}-name",
        }
        return arns[kind]

    def _bucket(self, name: str) -> str:
        return f"{name}-name"
