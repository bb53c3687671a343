"""A new version gets uploads by and by, once it has answered, and loses them when it fails."""

from __future__ import annotations

from typing import Any

import pytest
from metric_math import breaches
from policy_simulator import Request, allowed
from transformed_template import default_template, resolved, transformed

from infra.template import read_template


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return default_template()


@pytest.fixture(scope="module")
def resources(template) -> dict[str, Any]:
    return resolved(template)["Resources"]


def test_an_update_of_the_alias_goes_through_codedeploy_and_asks_the_new_version_first(template):
    policy = template["Resources"]["WorkerAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert policy["BeforeAllowTrafficHook"] == {"Ref": "Check"}
    (version,) = [key for key, res in template["Resources"].items() if res["Type"] == "AWS::Lambda::Version"]
    asked = template["Resources"]["Check"]["Properties"]["Environment"]["Variables"]["NEW_VERSION"]
    assert asked == {"Ref": version}
    assert template["Resources"]["Check"]["Properties"]["ImageConfig"]["Command"] == ["handler.rollout.lambda_handler"]


def test_codedeploys_own_role_may_invoke_only_what_begins_so(resources):
    """AWSCodeDeployRoleForLambda allows functions that are named CodeDeployHook_*; Lambda takes 64 characters."""
    name = resources["Check"]["Properties"]["FunctionName"]
    assert name.startswith("CodeDeployHook_")
    assert len(name.replace("0a1b", "01234567-89ab-cdef-0123-456789abcdef")) <= 64


@pytest.mark.parametrize("kind", read_template()["Parameters"]["Rollout"]["AllowedValues"])
def test_every_kind_of_rollout_is_one_that_codedeploy_knows_for_lambda(kind):
    source = read_template()
    source["Parameters"]["Rollout"]["Default"] = kind
    made = resolved(transformed(source))["Resources"]["WorkerDeploymentGroup"]["Properties"]
    assert made["DeploymentConfigName"] == f"CodeDeployDefault.Lambda{kind}"
    assert "DEPLOYMENT_STOP_ON_ALARM" in made["AutoRollbackConfiguration"]["Events"]
    assert made["AlarmConfiguration"]["Alarms"] == [{"Name": "RolloutAlarm-name"}]


def test_the_hook_may_ask_the_worker_and_tell_codedeploy_and_nothing_else(resources):
    (policy,) = resources["CheckRole"]["Properties"]["Policies"]
    role = [policy["PolicyDocument"]]
    worker = "arn:aws:lambda:eu-central-1:123456789012:function:Worker-name"
    groups = "arn:aws:codedeploy:eu-central-1:123456789012:deploymentgroup:app/group"
    assert allowed(Request("lambda:InvokeFunction", f"{worker}:42"), role)
    assert allowed(Request("codedeploy:PutLifecycleEventHookExecutionStatus", groups), role)
    for action, resource in (
        ("lambda:InvokeFunction", f"{worker}-of-another:1"),
        ("lambda:UpdateAlias", f"{worker}:live"),
        ("lambda:UpdateFunctionCode", worker),
        ("codedeploy:CreateDeployment", groups),
        ("dynamodb:PutItem", "arn:aws:dynamodb:eu-central-1:123456789012:table/Predictions-name"),
        ("s3:GetObject", "arn:aws:s3:::Images-name/a.jpg"),
    ):
        assert not allowed(Request(action, resource), role), action


CANARY = {("Invocations", "Sum"): 20.0, ("TryAgain", "SampleCount"): 400.0, ("TryAgain", "Sum"): 2.0}
"""A minute in which the new version gets a tenth of the batches."""


@pytest.mark.parametrize(
    ("minute", "stops"),
    [
        ({}, False),
        (CANARY, False),
        (CANARY | {("Errors", "Sum"): 2.0}, True),
        ({("Invocations", "Sum"): 1.0, ("Errors", "Sum"): 1.0}, True),
        (CANARY | {("TryAgain", "Sum"): 40.0}, True),  # all that the new version got
        ({("TryAgain", "SampleCount"): 1.0, ("TryAgain", "Sum"): 1.0}, False),  # S3 once refused on a quiet day
        ({("TryAgain", "SampleCount"): 12.0, ("TryAgain", "Sum"): 4.0}, True),  # few uploads, and no crash
    ],
    ids=["quiet", "healthy", "crashes", "the only batch crashes", "hands back all", "one hand-back", "hands back"],
)
def test_the_brake(resources, minute, stops):
    assert breaches(resources["RolloutAlarm"]["Properties"], minute) is stops


def test_the_brake_is_about_the_new_version_in_one_minute_and_disturbs_nobody(template, resources):
    alarm = template["Resources"]["RolloutAlarm"]["Properties"]
    (version,) = [key for key, res in template["Resources"].items() if res["Type"] == "AWS::Lambda::Version"]
    errors = next(one["MetricStat"] for one in alarm["Metrics"] if one["Id"] == "errors")
    watched = {one["Name"]: one["Value"] for one in errors["Metric"]["Dimensions"]}
    assert watched["ExecutedVersion"] == {"Fn::GetAtt": [version, "Version"]}
    assert {one["MetricStat"]["Period"] for one in alarm["Metrics"] if "MetricStat" in one} == {60}
    assert alarm["EvaluationPeriods"] == 1
    assert "AlarmActions" not in resources["RolloutAlarm"]["Properties"]
