"""The shadow lane in the transformed template: off unless asked for, and out of everybody's way."""

from __future__ import annotations

from typing import Any

import pytest
from policy_simulator import Request, allowed
from transformed_template import default_template, resolved

SHADOW = {"ShadowRule", "ShadowQueue", "ShadowDeadLetters", "ShadowQueuePolicy", "ShadowWorker", "ShadowLane"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return default_template()


@pytest.fixture(scope="module")
def shadowed(template) -> dict[str, Any]:
    return resolved(template, Candidate="next")["Resources"]


def test_without_a_candidate_there_is_none_of_it(template, shadowed):
    made = resolved(template)["Resources"]
    assert set(shadowed) - set(made) == SHADOW
    assert "EventBridgeConfiguration" not in made["Images"]["Properties"]["NotificationConfiguration"]
    assert "Shadow" not in str(made["WorkerRole"])


def test_the_copy_goes_another_way_than_the_upload(template, shadowed):
    notified = shadowed["Images"]["Properties"]["NotificationConfiguration"]
    assert notified["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
    without = resolved(template)["Resources"]["Images"]["Properties"]["NotificationConfiguration"]
    assert notified["QueueConfigurations"] == without["QueueConfigurations"]
    pattern = shadowed["ShadowRule"]["Properties"]["EventPattern"]
    assert pattern["detail-type"] == ["Object Created"], "removals are the live lane's: it erases under every model"
    assert pattern["detail"] == {"bucket": {"name": ["Images-name"]}}


def test_the_candidate_has_the_workers_settings_and_limits_and_says_that_it_is_one(shadowed):
    worker, candidate = (shadowed[name]["Properties"] for name in ("Worker", "ShadowWorker"))
    own = {"SHADOW", "MODEL_BUNDLE", "POWERTOOLS_SERVICE_NAME"}
    variables, others = candidate["Environment"]["Variables"], worker["Environment"]["Variables"]
    assert {k: v for k, v in variables.items() if k not in own} == {k: v for k, v in others.items() if k not in own}
    assert (variables["SHADOW"], variables["MODEL_BUNDLE"]) == ("true", "models/candidates/next")
    assert variables["POWERTOOLS_SERVICE_NAME"] != others["POWERTOOLS_SERVICE_NAME"]
    for name in ("MemorySize", "Timeout", "Role"):
        assert candidate[name] == worker[name]


def test_no_alarm_and_no_widget_looks_at_the_shadow_lane(shadowed):
    service = shadowed["ShadowWorker"]["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    for name, resource in shadowed.items():
        if resource["Type"].startswith("AWS::CloudWatch::"):
            assert "Shadow" not in str(resource), name
            assert service not in str(resource), name


def test_only_this_stacks_rule_fills_the_queue_and_the_worker_may_empty_it(shadowed):
    policy = [shadowed["ShadowQueuePolicy"]["Properties"]["PolicyDocument"]]
    queue = "arn:aws:sqs:eu-central-1:123456789012:ShadowQueue-name"
    for rule, let_in in (("ShadowRule-name", True), ("another", False)):
        arn = f"arn:aws:events:eu-central-1:123456789012:rule/{rule}"
        circumstances = {"aws:SourceArn": arn, "aws:PrincipalIsAWSService": "true", "aws:SecureTransport": "true"}
        request = Request("sqs:SendMessage", queue, circumstances, service="events.amazonaws.com")
        assert allowed(request, policy) is let_in
    role = [one["PolicyDocument"] for one in shadowed["WorkerRole"]["Properties"]["Policies"]]
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"):
        assert allowed(Request(action, queue), role)
    assert not allowed(Request("sqs:SendMessage", queue), role)


def test_what_the_candidate_hands_back_comes_again_as_in_the_other_lanes(shadowed):
    lane, queue = shadowed["ShadowLane"]["Properties"], shadowed["ShadowQueue"]["Properties"]
    assert lane["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert lane["FunctionName"] == "ShadowWorker-name"
    assert lane["EventSourceArn"] == "arn:aws:sqs:eu-central-1:123456789012:ShadowQueue-name"
    told = shadowed["ShadowWorker"]["Properties"]["Environment"]["Variables"]["VISIBILITY_TIMEOUT"]
    assert queue["VisibilityTimeout"] == int(told) >= 6 * shadowed["ShadowWorker"]["Properties"]["Timeout"]
    letters = shadowed["ShadowDeadLetters"]["Properties"]
    assert letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
