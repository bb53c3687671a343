"""The reconciler in the transformed template: off unless asked for, and then with no right but its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from policy_simulator import Request, allowed
from transformed_template import default_template, resolved

from handler.configuration import ReconcilerSettings
from handler.reconciler import LAST_SECONDS
from handler.store.unrecorded import PARTITION
from infra.template import read_template

DAILY = {"ReconcileSchedule": "cron(17 3 * * ? *)"}
OWN = {
    "Reconciler", "ReconcilerSchedule", "ReconcilerPermission", "ReconcilerLog", "ReconcilerRole", "UnrecordedAlarm",
}  # fmt: skip


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return default_template()


@pytest.fixture(scope="module")
def made(template) -> dict[str, Any]:
    return resolved(template, **DAILY)["Resources"]


def test_without_a_schedule_there_is_none_of_it_and_no_permission(template, made):
    without = resolved(template)["Resources"]
    assert set(made) - set(without) == OWN
    assert {name: made[name] for name in without} == without, "and nothing else changes with it"
    assert "econcil" not in str({name: one for name, one in without.items() if name != "Dashboard"})


def test_the_clock_and_nobody_else_starts_it(made):
    rule = made["ReconcilerSchedule"]["Properties"]
    assert rule["ScheduleExpression"] == DAILY["ReconcileSchedule"]
    (target,) = rule["Targets"]
    assert target["Arn"].endswith(":function:Reconciler-name")
    permission = made["ReconcilerPermission"]["Properties"]
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["FunctionName"] == "Reconciler-name"
    assert permission["SourceArn"] == "arn:aws:events:eu-central-1:123456789012:rule/ReconcilerSchedule-name"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("rate(1 day)", True), ("rate(15 minutes)", True), ("cron(17 3 * * ? *)", True),
        ("cron(0/15 6-18 ? * MON-FRI *)", True), ("cron(0 8 ? * 2#1 *)", True), ("", True),
        ("daily", False), ("rate(1 day", False), ("17 3 * * *", False), ("rate()", False),
    ],
)  # fmt: skip
def test_a_schedule_is_one_of_eventbridges(text, fits):
    pattern = read_template()["Parameters"]["ReconcileSchedule"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, text)) is fits


def test_it_is_the_workers_image_with_another_entry_point_and_its_settings():
    source = read_template()["Resources"]
    worker, own = source["Worker"], source["Reconciler"]
    built = ("Dockerfile", "DockerContext", "DockerBuildTarget", "DockerTag")
    assert [worker["Metadata"][part] for part in built] == [own["Metadata"][part] for part in built]
    assert own["Properties"]["ImageConfig"] == {"Command": ["handler.reconciling.lambda_handler"]}
    given, variables = (one["Properties"]["Environment"]["Variables"] for one in (worker, own))
    assert variables["LIVE_QUEUE_URL"] == {"Ref": "LiveQueue"}
    assert variables["BULK_QUEUE_URL"] == {"Ref": "BulkQueue"}
    assert {k: v for k, v in variables.items() if k in given}.items() <= given.items()
    assert {field.upper() for field in ReconcilerSettings.__dataclass_fields__} <= set(variables)


def test_it_stops_long_before_lambda_ends_it(made):
    assert made["Reconciler"]["Properties"]["Timeout"] >= 10 * LAST_SECONDS


TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/Predictions-name"
PLACE = {"dynamodb:LeadingKeys": PARTITION}


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("dynamodb:PutItem", TABLE, {"dynamodb:LeadingKeys": "Images-name/a.jpg"}),
        ("dynamodb:PutItem", TABLE, {"dynamodb:LeadingKeys": "#models"}),
        ("dynamodb:GetItem", TABLE, {"dynamodb:LeadingKeys": "Images-name/a.jpg"}),
        ("dynamodb:DeleteItem", TABLE, PLACE), ("dynamodb:UpdateItem", TABLE, PLACE), ("dynamodb:Scan", TABLE, PLACE),
        ("dynamodb:Query", f"{TABLE}/index/by_label", {}), ("s3:GetObject", "arn:aws:s3:::Images-name/a.jpg", {}),
        ("s3:GetObjectVersion", "arn:aws:s3:::Images-name/a.jpg", {}), ("s3:ListBucketVersions", "arn:aws:s3:::b", {}),
        ("sqs:SendMessage", "arn:aws:sqs:eu-central-1:123456789012:LiveQueue-name", {}),
        ("sqs:SendMessage", "arn:aws:sqs:eu-central-1:123456789012:RemovalsQueue-name", {}),
        ("sqs:ReceiveMessage", "arn:aws:sqs:eu-central-1:123456789012:BulkQueue-name", {}),
        ("secretsmanager:GetSecretValue", "HashSecret-name", {}), ("lambda:InvokeFunction", "*", {}),
    ],
)  # fmt: skip
def test_whoever_takes_it_over_may_not(made, action, resource, context):
    role = [policy["PolicyDocument"] for policy in made["ReconcilerRole"]["Properties"]["Policies"]]
    assert allowed(Request("dynamodb:PutItem", TABLE, PLACE), role)
    assert not allowed(Request(action, resource, context), role)


def test_a_key_of_ones_own_is_used_through_the_services_only(template):
    key = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
    role = resolved(template, EncryptionKey=key, **DAILY)["Resources"]["ReconcilerRole"]["Properties"]["Policies"]
    documents = [policy["PolicyDocument"] for policy in role]
    for action, service in (("Decrypt", "sqs"), ("GenerateDataKey", "sqs"), ("Decrypt", "dynamodb")):
        through = {"kms:ViaService": f"{service}.eu-central-1.amazonaws.com"}
        assert allowed(Request(f"kms:{action}", key, through), documents)
    assert not allowed(Request("kms:Decrypt", key, {}), documents)
    assert not allowed(Request("kms:Decrypt", key, {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}), documents)
