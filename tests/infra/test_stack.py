"""template.yaml deployed to the embedded AWS, and asked through AWS's own APIs how it is wired."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from botocore.exceptions import ClientError
from emulator_template import for_emulator, placed

from infra.stack import Stack, StackError, deploy
from infra.template import TemplateError, read_template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.embedded_aws import Endpoint

pytestmark = pytest.mark.integration

Deploys = Callable[..., Stack]


def _receive(stack: Stack) -> list[dict[str, Any]]:
    answer = stack.endpoint.client("sqs").receive_message(
        QueueUrl=stack.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=5
    )
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_an_upload_becomes_a_message_that_names_its_version(fresh_stack: Deploys):
    stack = fresh_stack()
    put = stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key="a b/c+d é.jpg", Body=b"image")
    (body,) = _receive(stack)
    (record,) = body["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["bucket"]["name"] == stack.bucket
    assert record["s3"]["object"]["key"] == "a+b/c%2Bd+%C3%A9.jpg"
    assert record["s3"]["object"]["versionId"] == put["VersionId"]


def test_what_the_template_says_is_what_the_worker_gets(fresh_stack: Deploys):
    stack = fresh_stack(BatchSize=7, BatchWindowSeconds=3, MaxReceives=2, MaxImageBytes=70000, LogLevel="DEBUG")
    assert (stack.live.batch_size, stack.live.window, stack.live.max_receives) == (7, 3, 2)
    assert stack.live.reports_item_failures
    assert stack.environment["MAX_RECEIVES"] == "2"
    assert stack.environment["MAX_IMAGE_BYTES"] == "70000"
    assert stack.environment["POWERTOOLS_LOG_LEVEL"] == "DEBUG"
    assert stack.environment["PREDICTIONS_TABLE"] == stack.table
    assert stack.environment["AWS_ENDPOINT_URL"] == stack.endpoint.url
    declared = read_template()["Resources"]["Worker"]["Properties"]
    assert set(stack.environment) == set(declared["Environment"]["Variables"])
    assert stack.timeout == declared["Timeout"]


def test_two_stacks_have_buckets_of_their_own(fresh_stack: Deploys):
    first, second = fresh_stack(), fresh_stack()
    assert first.bucket != second.bucket
    first.endpoint.client("s3").put_object(Bucket=first.bucket, Key="x.jpg", Body=b"image")
    assert len(_receive(first)) == 1
    assert (
        first.endpoint.client("sqs").receive_message(QueueUrl=second.queue_url, WaitTimeSeconds=1).get("Messages", [])
        == []
    )


def test_the_table_takes_records_and_answers_by_both_indexes(fresh_stack: Deploys):
    stack = fresh_stack()
    dynamodb = stack.endpoint.client("dynamodb")
    record = {
        "image": "bucket/key.jpg",
        "version": "v1#m1",
        "label_shard": "mel#2026-11-23#0",
        "confidence_rank": "0.900000#abc",
        "problem_shard": "referred#2026-11-23#0",
        "predicted_at": "2026-11-23T00:00:00Z",
    }
    dynamodb.put_item(TableName=stack.table, Item={name: {"S": value} for name, value in record.items()})
    for index, key in (("by_label", "label_shard"), ("by_problem", "problem_shard")):
        answer = dynamodb.query(
            TableName=stack.table,
            IndexName=index,
            KeyConditionExpression=f"{key} = :value",
            ExpressionAttributeValues={":value": {"S": record[key]}},
        )
        assert [item["image"]["S"] for item in answer["Items"]] == ["bucket/key.jpg"]


def test_a_template_that_an_emulator_refuses_says_which_resource(endpoint: Endpoint, tmp_path: Path):
    template = read_template()
    template["Resources"]["Images"]["Properties"]["NotificationConfiguration"]["QueueConfigurations"][0]["Queue"] = (
        "arn:aws:sqs:eu-central-1:000000000000:nowhere"
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text(yaml.safe_dump(template))
    with pytest.raises(StackError, match=r"could not be created: Images"):
        deploy(endpoint, broken, name="broken")


def test_a_parameter_that_the_template_does_not_allow_is_refused(endpoint: Endpoint):
    with pytest.raises(StackError, match=r"MaxReceives"):
        deploy(endpoint, name="refused", parameters={"MaxReceives": 1000})


def test_a_file_that_is_no_template_is_refused(tmp_path: Path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(TemplateError, match=r"list\.yaml holds no Resources"):
        read_template(tmp_path / "list.yaml")


def test_a_large_batch_without_a_window_is_refused_before_anything_is_made(endpoint: Endpoint):
    cloudformation = endpoint.client("cloudformation")
    with pytest.raises(ClientError, match="Lambda accepts no BatchSize over 10 with BatchWindowSeconds=0"):
        cloudformation.create_stack(
            StackName="windowless",
            TemplateURL=placed(endpoint, for_emulator(read_template(), image="worker:1", workers=7)),
            Parameters=[{"ParameterKey": "BatchWindowSeconds", "ParameterValue": "0"}],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )


@pytest.fixture(scope="module")
def raw(endpoint: Endpoint) -> Iterator[dict[str, str]]:
    """The outputs of the whole template, the function, its role, log, alarms and dashboard included.

    SAM's own transformation, run by the emulator, which knows no alarms on several metrics: test_alarms.py has them.
    """
    cloudformation = endpoint.client("cloudformation")
    cloudformation.create_stack(
        StackName="raw",
        TemplateURL=placed(endpoint, for_emulator(read_template(), image="worker:1", workers=7)),
        Parameters=[
            {"ParameterKey": "EncryptionKey", "ParameterValue": "create"},
            {"ParameterKey": "AlarmEmail", "ParameterValue": "duty@example.org"},
            {"ParameterKey": "EraseRemoved", "ParameterValue": "false"},
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="raw", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
    )
    (described,) = cloudformation.describe_stacks(StackName="raw")["Stacks"]
    yield {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    # Deleted, because the emulator's own poller would otherwise go on trying to run the function.
    cloudformation.delete_stack(StackName="raw")


def _queue(endpoint: Endpoint, url: str) -> dict[str, Any]:
    answer = endpoint.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    attributes: dict[str, Any] = answer["Attributes"]
    return attributes


CHOSEN = {"ApiUrl", "ResultsTopicArn", "ReconcilerName", "ReconcilerLogName"}
"""Outputs of what a stack has only if it is asked for."""


def test_the_raw_template_has_all_its_outputs(raw: dict[str, str]):
    assert set(raw) == set(read_template()["Outputs"]) - CHOSEN, "what must be asked for"


@pytest.mark.parametrize("lane", ["Live", "Bulk"])
def test_the_raw_template_wires_each_lane_through_the_alias_to_the_function(endpoint: Endpoint, raw, lane: str):
    lambda_ = endpoint.client("lambda")
    queue, letters = (_queue(endpoint, raw[f"{lane}{kind}Url"]) for kind in ("Queue", "DeadLetters"))
    mappings = lambda_.list_event_source_mappings(EventSourceArn=queue["QueueArn"])["EventSourceMappings"]
    (mapping,) = (mapping for mapping in mappings if mapping["EventSourceArn"] == queue["QueueArn"])
    assert mapping["FunctionArn"].endswith(f":function:{raw['WorkerName']}:live")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 7}
    spent_arn = json.loads(queue["RedrivePolicy"])["deadLetterTargetArn"]
    spent_url = endpoint.client("sqs").get_queue_url(QueueName=spent_arn.rpartition(":")[2])["QueueUrl"]
    spent = _queue(endpoint, spent_url)
    assert (
        json.loads(spent["RedrivePolicy"])["deadLetterTargetArn"] == letters["QueueArn"] == raw[f"{lane}DeadLettersArn"]
    )
    mappings = lambda_.list_event_source_mappings(EventSourceArn=spent_arn)["EventSourceMappings"]
    (mapping,) = (mapping for mapping in mappings if mapping["EventSourceArn"] == spent_arn)
    assert mapping["FunctionArn"].endswith(f":function:{raw['HousekeeperName']}")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert queue["VisibilityTimeout"] == "780"
    assert queue["KmsMasterKeyId"] == raw["DataKeyArn"]


def test_the_raw_template_publishes_a_version_that_the_alias_names(endpoint: Endpoint, raw):
    lambda_ = endpoint.client("lambda")
    alias = lambda_.get_alias(FunctionName=raw["WorkerName"], Name="live")
    versions = lambda_.list_versions_by_function(FunctionName=raw["WorkerName"])["Versions"]
    assert alias["FunctionVersion"] in {version["Version"] for version in versions} - {"$LATEST"}
    configuration = lambda_.get_function_configuration(FunctionName=raw["WorkerName"], Qualifier="live")
    assert configuration["SnapStart"]["ApplyOn"] == "None"
    assert configuration["Architectures"] == ["x86_64"]
    assert configuration["TracingConfig"] == {"Mode": "PassThrough"}
    assert configuration["LoggingConfig"]["LogGroup"] == raw["WorkerLogName"]
    variables = configuration["Environment"]["Variables"]
    assert variables["PREDICTIONS_TABLE"] == raw["TableName"]
    assert variables["UPLOADS_BUCKET"] == raw["BucketName"]
    assert variables["ERASE_REMOVED"] == "false"
    assert "AWS_ENDPOINT_URL" not in variables


def test_the_raw_template_tells_the_live_lane_of_what_comes_and_the_housekeeper_of_what_goes(endpoint: Endpoint, raw):
    s3 = endpoint.client("s3")
    notified = s3.get_bucket_notification_configuration(Bucket=raw["BucketName"])["QueueConfigurations"]
    live, removals = (_queue(endpoint, raw[f"{name}QueueUrl"])["QueueArn"] for name in ("Live", "Removals"))
    told = {(event, configuration["QueueArn"]) for configuration in notified for event in configuration["Events"]}
    assert told == {
        ("s3:ObjectCreated:*", live),
        ("s3:ObjectRestore:Completed", live),
        ("s3:ObjectRemoved:*", removals),
        ("s3:LifecycleExpiration:*", removals),
    }
    block = s3.get_public_access_block(Bucket=raw["BucketName"])
    assert set(block["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_versioning(Bucket=raw["BucketName"])["Status"] == "Enabled"
    statements = json.loads(s3.get_bucket_policy(Bucket=raw["BucketName"])["Policy"])["Statement"]
    assert {statement["Sid"] for statement in statements} == {"TlsOnly", "SameAccountOnly"}


def test_the_raw_template_raises_its_alarms_to_the_topic_and_has_its_dashboard(endpoint: Endpoint, raw):
    cloudwatch = endpoint.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="raw-")["MetricAlarms"]
    assert {alarm["AlarmName"] for alarm in alarms} == {
        "raw-dead-letters-live", "raw-dead-letters-bulk", "raw-dead-letters-removals", "raw-oldest-upload-live",
        "raw-oldest-message-bulk",
    }  # fmt: skip
    assert {tuple(alarm["AlarmActions"]) for alarm in alarms} == {(raw["AlarmTopicArn"],)}
    for alarm in alarms:
        (dimension,) = alarm["Dimensions"]
        assert endpoint.client("sqs").get_queue_url(QueueName=dimension["Value"])["QueueUrl"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=raw["DashboardName"])["DashboardBody"])
    shown = json.dumps(body)
    assert raw["WorkerName"] in shown
    assert raw["TableName"] in shown
    assert "${" not in shown


def test_a_stack_on_the_emulator_says_where_things_are_as_one_on_aws_does(fresh_stack: Deploys):
    """`make smoke` and the backfill find a stack by its outputs, wherever it stands."""
    stack = fresh_stack()
    (described,) = stack.endpoint.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert (outputs["BucketName"], outputs["TableName"]) == (stack.bucket, stack.table)
    assert (outputs["LiveQueueUrl"], outputs["BulkQueueUrl"]) == (stack.queue_url, stack.lanes["Bulk"].queue_url)
    assert "WorkerName" not in outputs, "the function is played by infra.worker_loop"
