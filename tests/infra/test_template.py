"""What template.yaml becomes on AWS: the same transformation that CloudFormation runs, in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from samtranslator.translator.transform import transform

from infra.template import read_template


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    return read_template()


@pytest.fixture(scope="module")
def stack(source: dict[str, Any]) -> dict[str, Any]:
    """The transformed template, as plain JSON. SAM writes the parameters' values into what it transforms itself."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    values = {name: str(parameter["Default"]) for name, parameter in source["Parameters"].items()}
    image = json.loads(json.dumps(source))
    image["Resources"]["Worker"]["Properties"]["ImageUri"] = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/worker:1"
    try:
        transformed: dict[str, Any] = transform(image, values, _NoManagedPolicies())
    finally:
        patch.undo()
    return transformed


def _of_type(stack: dict[str, Any], *kinds: str) -> dict[str, dict[str, Any]]:
    return {name: res for name, res in stack["Resources"].items() if res["Type"] in kinds}


def _only(stack: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = _of_type(stack, kind).values()
    return found


def test_no_message_is_handed_out_twice_while_a_worker_may_still_hold_it(source, stack):
    timeout = _only(stack, "AWS::Lambda::Function")["Properties"]["Timeout"]
    longest_window = source["Parameters"]["BatchWindowSeconds"]["MaxValue"]
    for mapping in _of_type(stack, "AWS::Lambda::EventSourceMapping").values():
        queue = stack["Resources"][mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["VisibilityTimeout"] >= 6 * timeout + longest_window


def test_a_dead_letter_outlives_its_queue(stack):
    queues = _of_type(stack, "AWS::SQS::Queue")
    lanes = {name: queue["Properties"] for name, queue in queues.items() if "RedrivePolicy" in queue["Properties"]}
    assert lanes, "no queue has a dead-letter queue"
    for queue in lanes.values():
        letters = queues[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]["Properties"]
        assert letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


def test_every_queue_that_feeds_the_worker_has_a_dead_letter_queue(stack):
    for mapping in _of_type(stack, "AWS::Lambda::EventSourceMapping").values():
        queue = stack["Resources"][mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["RedrivePolicy"]["maxReceiveCount"] == {"Ref": "MaxReceives"}


def test_each_property_of_the_sqs_event_reaches_lambda(source, stack):
    """`sam validate --lint` lets a misspelt property of an event pass, and batches would then fail as a whole."""
    event = source["Resources"]["Worker"]["Properties"]["Events"]["Live"]["Properties"]
    mapping = _only(stack, "AWS::Lambda::EventSourceMapping")["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "MaximumConcurrency"}}
    assert set(event) - set(mapping) == {"Queue"}
    assert set(mapping) - set(event) == {"EventSourceArn", "FunctionName"}


def test_default_batch_is_one_that_lambda_accepts(source):
    batch, window = (source["Parameters"][name]["Default"] for name in ("BatchSize", "BatchWindowSeconds"))
    assert batch <= 10 or window >= 1


def test_the_bucket_is_private_encrypted_versioned_and_notifies_the_live_queue(stack):
    bucket = _only(stack, "AWS::S3::Bucket")
    properties = bucket["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["NotificationConfiguration"] == {
        "QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": {"Fn::GetAtt": ["LiveQueue", "Arn"]}}]
    }
    assert bucket["DependsOn"] == "LiveQueuePolicy", "S3 tests the notification when the bucket is created"


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
def test_deleting_the_stack_keeps_the_data(stack, kind):
    kept = _only(stack, kind)
    assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_bucket_and_queues_refuse_plain_http(stack):
    guarded = set()
    for policy in _of_type(stack, "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy").values():
        properties = policy["Properties"]
        for statement in properties["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                assert statement["Principal"] == "*"
                guarded |= {reference["Ref"] for reference in properties.get("Queues", [properties.get("Bucket")])}
    assert guarded == set(_of_type(stack, "AWS::S3::Bucket")) | set(_of_type(stack, "AWS::SQS::Queue"))


def test_only_this_stacks_bucket_may_fill_the_queue(stack):
    allowed = [
        statement
        for policy in _of_type(stack, "AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    (statement,) = allowed
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    # Both branches of the name are the bucket's own, so that the policy can't drift away from the bucket.
    bucket_name = _only(stack, "AWS::S3::Bucket")["Properties"]["BucketName"]["Fn::If"]
    source_arn = statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::If"]
    prefix = "arn:${AWS::Partition}:s3:::"
    assert source_arn[0] == bucket_name[0] == "NamesBucket"
    assert source_arn[1] == {"Fn::Sub": prefix + "${" + bucket_name[1]["Ref"] + "}"}
    assert source_arn[2] == {"Fn::Sub": [prefix + bucket_name[2]["Fn::Sub"][0], bucket_name[2]["Fn::Sub"][1]]}


def test_the_role_can_do_what_the_worker_does_and_nothing_else(stack):
    role = _only(stack, "AWS::IAM::Role")["Properties"]
    assert "ManagedPolicyArns" not in role
    statements = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    granted = {
        action: json.dumps(statement["Resource"])
        for statement in statements
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    queue, table, log = (
        json.dumps({"Fn::GetAtt": [name, "Arn"]}) for name in ("LiveQueue", "Predictions", "WorkerLog")
    )
    objects = json.dumps({"Fn::Sub": "${Images.Arn}/*"})
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    assert granted == {
        "s3:GetObject": objects,
        "s3:GetObjectVersion": objects,
        "s3:ListBucket": json.dumps({"Fn::GetAtt": ["Images", "Arn"]}),
        "dynamodb:BatchGetItem": table,
        "dynamodb:PutItem": table,
        "sqs:ReceiveMessage": queue,
        "sqs:DeleteMessage": queue,
        "sqs:GetQueueAttributes": queue,
        "logs:CreateLogStream": log,
        "logs:PutLogEvents": log,
    }


def test_the_table_answers_both_questions_and_can_be_restored(stack):
    table = _only(stack, "AWS::DynamoDB::Table")["Properties"]
    keys = {index["IndexName"]: _keys(index) for index in table["GlobalSecondaryIndexes"]}
    assert _keys(table) == ["image", "version"]
    assert keys == {"by_label": ["label_shard", "confidence_rank"], "by_problem": ["problem_shard", "predicted_at"]}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def _keys(table_or_index: dict[str, Any]) -> list[str]:
    return [key["AttributeName"] for key in sorted(table_or_index["KeySchema"], key=lambda key: key["KeyType"])]


def test_the_worker_logs_into_a_group_that_forgets(stack):
    function = _only(stack, "AWS::Lambda::Function")["Properties"]
    (name,) = _of_type(stack, "AWS::Logs::LogGroup")
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": name}}
    assert stack["Resources"][name]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_on_aws_the_worker_has_no_endpoint(stack):
    variables = _only(stack, "AWS::Lambda::Function")["Properties"]["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL"] == {
        "Fn::If": ["UsesEmulator", {"Ref": "EndpointUrl"}, {"Ref": "AWS::NoValue"}]
    }
    assert stack["Parameters"]["EndpointUrl"]["Default"] == ""


def test_every_parameter_is_explained_bounded_and_has_a_default(source):
    grouped = [
        name
        for group in source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    assert sorted(grouped) == sorted(source["Parameters"])
    for name, parameter in source["Parameters"].items():
        assert {"Default", "Description"} <= set(parameter), name
        assert set(parameter) & {"AllowedValues", "AllowedPattern", "MinValue"}, name
