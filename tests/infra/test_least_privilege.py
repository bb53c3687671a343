"""The role allows the calls that the worker really makes, recorded from real runs, and no other."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import botocore.client
import pytest
from botocore.exceptions import ClientError
from policy_simulator import Request, allowed, listed
from sample_images import jpeg
from transformed_template import default_template, resolved

from handler.configuration import Settings
from handler.worker import Worker
from infra.worker_loop import function_environment, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.stack import Stack

pytestmark = pytest.mark.integration

BUCKET = "arn:aws:s3:::Images-name"
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/Predictions-name"
QUEUES = [f"arn:aws:sqs:eu-central-1:123456789012:{lane}Queue-name" for lane in ("Live", "Bulk")]
LOG = "arn:aws:logs:eu-central-1:123456789012:log-group:WorkerLog-name:*"
# What Lambda does in the role's name: polls the queues, writes the log. No run of ours can record it.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
LAMBDAS_OWN = {
    *((action, queue) for queue in QUEUES for action in (
        "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")),
    ("logs:CreateLogStream", LOG), ("logs:PutLogEvents", LOG),
}  # fmt: skip
ACCOUNT = {"aws:PrincipalAccount": "123456789012", "aws:PrincipalIsAWSService": "false", "aws:SecureTransport": "true"}

Grant = tuple[str, str]
"""Action, and resource as the template names it."""

TO_BE_TOLD_THAT_IT_IS_GONE: dict[bool, set[Grant]] = {
    False: {("s3:ListBucket", BUCKET)},
    True: {("s3:ListBucket", BUCKET), ("s3:ListBucketVersions", BUCKET)},
}
"""By whether a version was named: without these S3 answers 403 where it should answer 404."""


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return default_template()


@pytest.fixture(scope="module")
def role(template: dict[str, Any]) -> list[dict[str, Any]]:
    properties = resolved(template)["Resources"]["WorkerRole"]["Properties"]
    assert "ManagedPolicyArns" not in properties
    return [policy["PolicyDocument"] for policy in properties["Policies"]]


@pytest.fixture
def needed(fresh_stack: Callable[..., Stack], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> set[Grant]:
    """What the worker's calls need, over every way that an upload can go."""
    stack = fresh_stack(MaxReceives=2)
    recorded: set[Grant] = set()
    with monkeypatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in (function_environment(stack, {}) | {"MODEL_BUNDLE": str(tiny_bundle)}).items():
            patch.setenv(name, value)
        original = botocore.client.BaseClient._make_api_call

        def recording(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            recorded.update(_grants(client.meta.service_model.service_name, operation, parameters, stack))
            try:
                return original(client, operation, parameters)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    recorded.update(TO_BE_TOLD_THAT_IT_IS_GONE[bool(parameters.get("VersionId"))])
                raise

        worker = Worker.start(Settings.from_environment())

        def handle(event: Any, context: Any) -> Any:
            """The worker's own calls are recorded, those of the loop around it are not."""
            botocore.client.BaseClient._make_api_call = recording
            try:
                return worker.handle(event, context)
            finally:
                botocore.client.BaseClient._make_api_call = original

        _go_every_way(stack, handle)
    return recorded


def _go_every_way(stack: Stack, handle: Callable[[Any, Any], Any]) -> None:
    s3, sqs = stack.endpoint.client("s3"), stack.endpoint.client("sqs")

    def put(key: str) -> dict[str, Any]:
        answer: dict[str, Any] = s3.put_object(Bucket=stack.bucket, Key=key, Body=jpeg(1))
        return answer

    def settle() -> None:
        _wait_for_events()
        run_worker(stack, handle, retry_after=0)

    sqs.send_message(QueueUrl=stack.live.queue_url, MessageBody="no event, so it is handed back")
    put("stays.jpg")
    marked, for_good = put("marked.jpg"), put("for-good.jpg")
    settle()
    s3.delete_object(Bucket=stack.bucket, Key="marked.jpg")  # a delete marker
    s3.delete_object(Bucket=stack.bucket, Key="for-good.jpg", VersionId=for_good["VersionId"])
    settle()
    for _ in range(2):  # deleted before it could be read; and overtaken by the news of its deletion
        gone = put("gone.jpg")
        s3.delete_object(Bucket=stack.bucket, Key="gone.jpg", VersionId=gone["VersionId"])
    settle()
    # Two on their last receive: the first is acknowledged before the second, which might end the process, is tried.
    put("first.jpg"), put("second.jpg")
    _wait_for_events()
    sqs.receive_message(QueueUrl=stack.live.queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    settle()
    # A source that names no version; on the last receive; and the same once more, when its record stands.
    body = _notification(stack.bucket, "stays.jpg", marked["ETag"].strip('"'))
    for lane, _ in itertools.product(stack.lanes.values(), range(2)):
        sqs.send_message(QueueUrl=lane.queue_url, MessageBody=body)
        run_worker(stack, handle, lane=lane, retry_after=0)
    last = dataclasses.replace(stack.live, max_receives=1)
    sqs.send_message(QueueUrl=last.queue_url, MessageBody=_notification(stack.bucket, "never-there.jpg", "0" * 32))
    held = sqs.receive_message(QueueUrl=last.queue_url, VisibilityTimeout=0)
    assert held["Messages"]
    run_worker(stack, handle, lane=last, retry_after=0)


def _wait_for_events() -> None:
    time.sleep(0.5)  # the emulator sends them within milliseconds, AWS within a second or so


def _notification(bucket: str, key: str, etag: str) -> str:
    s3 = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": etag}}
    event = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-23T09:30:00.125Z",
        "s3": s3,
    }
    return json.dumps({"Records": [event]})


def _grants(service: str, operation: str, parameters: dict[str, Any], stack: Stack) -> set[Grant]:
    """The permissions that AWS's service authorisation reference lists for the call."""
    match service, operation:
        case "s3", "GetObject" | "HeadObject":
            assert parameters["Bucket"] == stack.bucket
            read = "s3:GetObjectVersion" if parameters.get("VersionId") else "s3:GetObject"
            return {(read, f"{BUCKET}/*")}
        case "dynamodb", "BatchGetItem":
            assert set(parameters["RequestItems"]) == {stack.table}
            return {("dynamodb:BatchGetItem", TABLE)}
        case "dynamodb", "PutItem" | "DeleteItem" | "UpdateItem" | "GetItem" | "Query":
            assert parameters["TableName"] == stack.table
            assert "IndexName" not in parameters
            return {(f"dynamodb:{operation}", TABLE)}
        case "sqs", "DeleteMessageBatch":
            # The stack's queues, by their names; the template's two lanes have one permission.
            assert parameters["QueueUrl"].rpartition("/")[2] in {
                lane.queue_arn.rpartition(":")[2] for lane in stack.lanes.values()
            }
            return {("sqs:DeleteMessage", queue) for queue in QUEUES}
        case "sqs", "ChangeMessageVisibilityBatch":
            assert parameters["QueueUrl"].rpartition("/")[2] in {
                lane.queue_arn.rpartition(":")[2] for lane in stack.lanes.values()
            }
            return {("sqs:ChangeMessageVisibility", queue) for queue in QUEUES}
    raise AssertionError(f"{service}:{operation} is a call that this test knows no permission for")


def test_the_role_allows_what_the_worker_does_and_nothing_else(role, needed):
    granted = {
        (action, resource)
        for policy in role
        for statement in policy["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert ("sqs:DeleteMessage", QUEUES[0]) in needed, "the worker acknowledges before a risk"
    assert ("sqs:ChangeMessageVisibility", QUEUES[0]) in needed, "and shortens the wait of what it hands back"
    assert not {statement["Effect"] for policy in role for statement in policy["Statement"]} - {"Allow"}
    refused = {grant for grant in needed | LAMBDAS_OWN if not allowed(Request(*_one(grant)), role)}
    assert refused == set(), "the worker would be refused"
    assert granted - needed - LAMBDAS_OWN == set(), "nothing that the worker does needs this"


def _one(grant: Grant) -> Grant:
    """A single resource in place of the pattern."""
    return grant[0], grant[1].replace("*", "one")


FORBIDDEN = [
    ("s3:PutObject", f"{BUCKET}/a.jpg"), ("s3:DeleteObject", f"{BUCKET}/a.jpg"),
    ("s3:DeleteObjectVersion", f"{BUCKET}/a.jpg"), ("s3:GetObject", "arn:aws:s3:::another/a.jpg"),
    ("s3:GetObjectVersion", "arn:aws:s3:::Images-name-of-another/a.jpg"), ("s3:PutBucketPolicy", BUCKET),
    ("s3:ListAllMyBuckets", "*"), ("dynamodb:Scan", TABLE), ("dynamodb:Query", f"{TABLE}/index/by_label"),
    ("dynamodb:BatchWriteItem", TABLE), ("dynamodb:DeleteTable", TABLE), ("dynamodb:UpdateTimeToLive", TABLE),
    ("dynamodb:PutItem", TABLE + "2"), ("sqs:SendMessage", QUEUES[0]), ("sqs:PurgeQueue", QUEUES[0]),
    ("sqs:ReceiveMessage", "arn:aws:sqs:eu-central-1:123456789012:LiveDeadLetters-name"),
    ("logs:CreateLogGroup", "arn:aws:logs:eu-central-1:123456789012:log-group:x:*"), ("logs:DeleteLogGroup", LOG),
    ("iam:PassRole", "arn:aws:iam::123456789012:role/WorkerRole-name"), ("sts:AssumeRole", "*"),
    ("lambda:InvokeFunction", "*"), ("lambda:UpdateFunctionCode", "*"), ("cloudwatch:PutMetricData", "*"),
    ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/0a1b"), ("secretsmanager:GetSecretValue", "*"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "resource"), FORBIDDEN)
def test_whoever_takes_over_a_worker_may_not(role, action, resource):
    assert not allowed(Request(action, resource, ACCOUNT), role)


def test_a_key_of_ones_own_may_be_used_for_reading_through_the_services_alone(template):
    key = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
    properties = resolved(template, EncryptionKey=key)["Resources"]["WorkerRole"]["Properties"]
    role = [policy["PolicyDocument"] for policy in properties["Policies"]]
    for service in ("s3", "sqs", "dynamodb"):
        assert allowed(Request("kms:Decrypt", key, {"kms:ViaService": f"{service}.eu-central-1.amazonaws.com"}), role)
    assert not allowed(Request("kms:Decrypt", key, {}), role), "by hand"
    assert not allowed(Request("kms:Decrypt", key + "9", {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}), role)
    assert not allowed(Request("kms:ScheduleKeyDeletion", key, {}), role)


@pytest.mark.parametrize(
    ("case", "let_in", "context"),
    [
        ("this stack's bucket", True, {}),
        ("another bucket of this account", False, {"aws:SourceArn": "arn:aws:s3:::another"}),
        ("a bucket of that name in another account", False, {"aws:SourceAccount": "999999999999"}),
        ("this stack's bucket without TLS", False, {"aws:SecureTransport": "false"}),
    ],
)
def test_only_this_stacks_bucket_fills_the_live_queue(template, case, let_in, context):
    name = "dermbatch-0a1b"
    resources = resolved(template)["Resources"]
    assert resources["Images"]["Properties"]["BucketName"] == name
    circumstances = {
        "aws:SourceArn": f"arn:aws:s3:::{name}", "aws:SourceAccount": "123456789012",
        "aws:PrincipalIsAWSService": "true", "aws:SecureTransport": "true",
    }  # fmt: skip
    request = Request("sqs:SendMessage", QUEUES[0], circumstances | context, service="s3.amazonaws.com")
    assert allowed(request, [resources["LiveQueuePolicy"]["Properties"]["PolicyDocument"]]) is let_in, case


GENEROUS = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
"""What a mistaken policy elsewhere may say."""


@pytest.mark.parametrize("change", [{"aws:SecureTransport": "false"}, {"aws:PrincipalAccount": "999999999999"}])
def test_whatever_is_allowed_elsewhere_plain_http_and_other_accounts_stay_out(template, change):
    resources = resolved(template)["Resources"]
    guarded = {
        "ImagesPolicy": [
            ("s3:GetObject", f"{BUCKET}/a.jpg"),
            ("s3:ListBucket", BUCKET),
            ("s3:PutObject", f"{BUCKET}/a"),
        ],
        "LiveQueuePolicy": [("sqs:SendMessage", QUEUES[0]), ("sqs:ReceiveMessage", QUEUES[0])],
        "OtherQueuesPolicy": [
            (action, f"arn:aws:sqs:eu-central-1:123456789012:{queue}-name")
            for action in ("sqs:SendMessage", "sqs:ReceiveMessage")
            for queue in ("LiveDeadLetters", "BulkQueue", "BulkDeadLetters")
        ],
    }
    for policy, requests in guarded.items():
        document = resources[policy]["Properties"]["PolicyDocument"]
        for action, resource in requests:
            assert allowed(Request(action, resource, ACCOUNT), [GENEROUS, document])
            assert not allowed(Request(action, resource, ACCOUNT | change), [GENEROUS, document])
    assert not allowed(
        Request("s3:GetObject", f"{BUCKET}/a.jpg", {"aws:SecureTransport": "true"}),
        [GENEROUS, resources["ImagesPolicy"]["Properties"]["PolicyDocument"]],
    ), "nobody in particular"


def test_the_simulator_denies_what_nothing_allows_and_lets_a_denial_win():
    policy = {"Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::a/*"}]}
    assert allowed(Request("s3:GetObject", "arn:aws:s3:::a/b"), [policy])
    assert not allowed(Request("s3:PutObject", "arn:aws:s3:::a/b"), [policy])
    assert not allowed(Request("s3:GetObject", "arn:aws:s3:::b/b"), [policy])
    denial = {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    assert not allowed(Request("s3:GetObject", "arn:aws:s3:::a/b"), [policy, denial])
