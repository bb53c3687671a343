"""template.yaml deployed to the embedded AWS, and asked through AWS's own APIs how it is wired."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from infra.stack import Stack, StackError, deploy
from infra.template import TemplateError, read_template

if TYPE_CHECKING:
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


def test_the_raw_template_deploys_whole_and_wires_the_queue_to_the_function(endpoint: Endpoint):
    """With the function, its role and its log: SAM's own transformation, run by the emulator."""
    template = read_template()
    template["Resources"]["Worker"]["Properties"]["ImageUri"] = "worker:1"
    cloudformation = endpoint.client("cloudformation")
    cloudformation.create_stack(
        StackName="raw",
        TemplateBody=json.dumps(template),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="raw", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
    )
    (described,) = cloudformation.describe_stacks(StackName="raw")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert set(outputs) == set(template["Outputs"])
    lambda_ = endpoint.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName=outputs["WorkerName"])["EventSourceMappings"]
    queue = endpoint.client("sqs").get_queue_attributes(QueueUrl=outputs["LiveQueueUrl"], AttributeNames=["All"])
    assert mapping["EventSourceArn"] == queue["Attributes"]["QueueArn"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 50}
    configuration = lambda_.get_function_configuration(FunctionName=outputs["WorkerName"])
    assert configuration["Environment"]["Variables"]["PREDICTIONS_TABLE"] == outputs["TableName"]
    assert "AWS_ENDPOINT_URL" not in configuration["Environment"]["Variables"]
    notification = endpoint.client("s3").get_bucket_notification_configuration(Bucket=outputs["BucketName"])
    assert [q["QueueArn"] for q in notification["QueueConfigurations"]] == [queue["Attributes"]["QueueArn"]]
    block = endpoint.client("s3").get_public_access_block(Bucket=outputs["BucketName"])
    assert set(block["PublicAccessBlockConfiguration"].values()) == {True}
    # Deleted, because the emulator's own poller would otherwise go on trying to run the function.
    cloudformation.delete_stack(StackName="raw")
