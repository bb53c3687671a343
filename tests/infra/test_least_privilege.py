"""Each function's role allows the calls that it really makes, recorded from real runs, and no other."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import botocore.client
import pytest
from botocore.exceptions import ClientError
from policy_simulator import Request, allowed, listed
from sample_images import jpeg
from transformed_template import default_template, resolved

from handler.configuration import ReconcilerSettings, Settings
from handler.housekeeper import Housekeeper
from handler.pseudonyms import Pseudonyms
from handler.reconciler import Reconciler
from handler.store.erasure import Marks
from handler.worker import Worker
from infra.worker_loop import Handler, function_environment, keep_house, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.stack import Lane, Stack

pytestmark = pytest.mark.integration

BUCKET = "arn:aws:s3:::Images-name"
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/Predictions-name"
SECRET = "HashSecret-name"  # what Ref gives; on AWS that is its ARN
QUEUE = "arn:aws:sqs:eu-central-1:123456789012:{}-name"
QUEUES = [QUEUE.format(name) for name in ("LiveQueue", "BulkQueue")]
REMOVALS = QUEUE.format("RemovalsQueue")
KEPT = [REMOVALS, *(QUEUE.format(name) for name in ("LiveSpent", "BulkSpent"))]
"""What the housekeeper takes messages from."""
LETTERS = [QUEUE.format(f"{name}DeadLetters") for name in ("Removals", "Live", "Bulk")]
LOG = "arn:aws:logs:eu-central-1:123456789012:log-group:WorkerLog-name:*"
Grant = tuple[str, str]
"""Action, and resource as the template names it."""
KEYED = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"}
"""Actions on one item, which a role may allow for some partitions of the table only."""


# What Lambda does in the role's name: polls the queues, writes the log. No run of ours can record it.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
def _lambdas_own(queues: list[str], log: str) -> set[Grant]:
    return {
        *((action, queue) for queue in queues for action in (
            "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")),
        ("logs:CreateLogStream", log), ("logs:PutLogEvents", log),
    }  # fmt: skip


ACCOUNT = {"aws:PrincipalAccount": "123456789012", "aws:PrincipalIsAWSService": "false", "aws:SecureTransport": "true"}

TO_BE_TOLD_THAT_IT_IS_GONE: dict[bool, set[Grant]] = {
    False: {("s3:ListBucket", BUCKET)},
    True: {("s3:ListBucket", BUCKET), ("s3:ListBucketVersions", BUCKET)},
}
"""By whether a version was named: without these S3 answers 403 where it should answer 404."""


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return default_template()


def _role(template: dict[str, Any], name: str, **parameters: str) -> list[dict[str, Any]]:
    properties = resolved(template, **parameters)["Resources"][name]["Properties"]
    assert "ManagedPolicyArns" not in properties
    return [policy["PolicyDocument"] for policy in properties["Policies"]]


@pytest.fixture(scope="module")
def role(template: dict[str, Any]) -> list[dict[str, Any]]:
    return _role(template, "WorkerRole")


@pytest.fixture(scope="module")
def keepers_role(template: dict[str, Any]) -> list[dict[str, Any]]:
    return _role(template, "HousekeeperRole")


@pytest.fixture(scope="module")
def reconcilers_role(template: dict[str, Any]) -> list[dict[str, Any]]:
    return _role(template, "ReconcilerRole", ReconcileSchedule="rate(1 day)")


@dataclasses.dataclass
class Needed:
    """What the calls of one function need."""

    grants: set[Grant] = dataclasses.field(default_factory=set)
    partitions: dict[str, set[str]] = dataclasses.field(default_factory=lambda: {action: set() for action in KEYED})
    """Of the table, by the action on one of its items."""

    def add(self, grants: set[Grant], parameters: dict[str, Any], stack: Stack) -> None:
        self.grants |= grants
        for action, _ in grants & {(action, TABLE) for action in KEYED}:
            item = parameters.get("Item") or parameters["Key"]
            self.partitions[action].add(item["image"]["S"].replace(f"{stack.bucket}/", "Images-name/"))


@pytest.fixture
def needed(fresh_stack: Callable[..., Stack], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Needed]:
    """What the calls of each function need, over every way that an upload can go."""
    stack = fresh_stack(MaxReceives=2)
    recorded = {name: Needed() for name in ("worker", "housekeeper", "reconciler")}
    lanes = {f"{name.upper()}_QUEUE_URL": lane.queue_url for name, lane in stack.lanes.items()}
    with monkeypatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in (function_environment(stack, {}) | {"MODEL_BUNDLE": str(tiny_bundle)} | lanes).items():
            patch.setenv(name, value)
        original = botocore.client.BaseClient._make_api_call

        def recorded_by(who: str, call: Callable[..., Any]) -> Callable[..., Any]:
            """The function's own calls are recorded, those of the loop around it are not."""
            own = recorded[who]

            def recording(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
                service = client.meta.service_model.service_name
                own.add(_grants(service, operation, parameters, stack, who), parameters, stack)
                try:
                    return original(client, operation, parameters)
                except ClientError as error:
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                        own.grants.update(TO_BE_TOLD_THAT_IT_IS_GONE[bool(parameters.get("VersionId"))])
                    raise

            def called(*arguments: Any) -> Any:
                botocore.client.BaseClient._make_api_call = recording
                try:
                    return call(*arguments)
                finally:
                    botocore.client.BaseClient._make_api_call = original

            return called

        settings = Settings.from_environment()
        worker = recorded_by("worker", Worker.start)(settings)
        housekeeper = recorded_by("housekeeper", Housekeeper.start)(settings)
        _go_every_way(stack, recorded_by("worker", worker.handle), recorded_by("housekeeper", housekeeper.handle))
        reconciler = recorded_by("reconciler", Reconciler.start)(ReconcilerSettings.from_environment())
        stack.endpoint.client("sqs").set_queue_attributes(  # nothing may still be on its way
            QueueUrl=stack.queue_url, Attributes={"VisibilityTimeout": "0"}
        )
        stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key="lost.jpg", Body=jpeg(1))
        assert recorded_by("reconciler", reconciler.run)(lambda: 900.0).sent == 1
    return recorded


def _go_every_way(stack: Stack, handle: Handler, keep: Handler) -> None:
    s3, sqs = stack.endpoint.client("s3"), stack.endpoint.client("sqs")

    def put(key: str) -> dict[str, Any]:
        answer: dict[str, Any] = s3.put_object(Bucket=stack.bucket, Key=key, Body=jpeg(1))
        return answer

    def settle() -> None:
        _wait_for_events()
        run_worker(stack, handle, retry_after=0)
        keep_house(stack, keep, retry_after=0)

    sqs.send_message(QueueUrl=stack.live.queue_url, MessageBody="no event, so it is handed back")
    put("stays.jpg")
    marked, for_good = put("marked.jpg"), put("for-good.jpg")
    settle()
    s3.delete_object(Bucket=stack.bucket, Key="marked.jpg")  # a delete marker
    s3.delete_object(Bucket=stack.bucket, Key="for-good.jpg", VersionId=for_good["VersionId"])
    settle()
    gone = put("gone.jpg")  # overtaken by the news of its deletion
    s3.delete_object(Bucket=stack.bucket, Key="gone.jpg", VersionId=gone["VersionId"])
    _wait_for_events()
    keep_house(stack, keep, retry_after=0)
    settle()
    etag = s3.list_object_versions(Bucket=stack.bucket, Prefix="stays.jpg")["Versions"][0]["ETag"].strip('"')
    removed = _notification(stack.bucket, "stays.jpg", etag).replace("ObjectCreated:Put", "ObjectRemoved:Delete")
    sqs.send_message(QueueUrl=stack.environment["REMOVALS_QUEUE_URL"], MessageBody=removed)  # and names no version
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
    for lane in stack.lanes.values():  # nobody could write a record
        sqs.send_message(QueueUrl=lane.spent_url, MessageBody=_notification(stack.bucket, "never-read.jpg", "1" * 32))
    sqs.send_message(QueueUrl=stack.environment["REMOVALS_QUEUE_URL"], MessageBody="no event")
    keep_house(stack, keep, retry_after=0)


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


def _grants(  # noqa: C901, PLR0911 (one case for each call)
    service: str, operation: str, parameters: dict[str, Any], stack: Stack, who: str
) -> set[Grant]:
    """The permissions that AWS's service authorisation reference lists for the call."""
    match service, operation:
        case "s3", "GetObject" | "HeadObject":
            assert parameters["Bucket"] == stack.bucket
            read = "s3:GetObjectVersion" if parameters.get("VersionId") else "s3:GetObject"
            return {(read, f"{BUCKET}/*")}
        case "s3", "ListObjectVersions":
            assert parameters["Bucket"] == stack.bucket
            return {("s3:ListBucketVersions", BUCKET)}
        case "dynamodb", "BatchGetItem":
            assert set(parameters["RequestItems"]) == {stack.table}
            return {("dynamodb:BatchGetItem", TABLE)}
        case "dynamodb", "PutItem" | "DeleteItem" | "UpdateItem" | "GetItem" | "Query":
            assert parameters["TableName"] == stack.table
            assert "IndexName" not in parameters
            return {(f"dynamodb:{operation}", TABLE)}
        case "secretsmanager", "GetSecretValue":
            assert parameters["SecretId"] == stack.environment["HASH_SECRET_ARN"]
            return {("secretsmanager:GetSecretValue", SECRET)}
        case "sqs", "SendMessageBatch" if who == "reconciler":
            assert parameters["QueueUrl"] == stack.lanes["Bulk"].queue_url
            return {("sqs:SendMessage", QUEUES[1])}
        case "sqs", "GetQueueAttributes" if who == "reconciler":
            (lane,) = (name for name, lane in stack.lanes.items() if lane.queue_url == parameters["QueueUrl"])
            return {("sqs:GetQueueAttributes", QUEUE.format(f"{lane}Queue"))}
        case "sqs", "SendMessageBatch":
            assert parameters["QueueUrl"] == stack.environment["REMOVALS_QUEUE_URL"]
            return {("sqs:SendMessage", REMOVALS)}
        case "sqs", "SendMessage":
            assert _name(parameters) in {_queue_name(lane.dlq_url) for lane in _housekeepers_lanes(stack)}
            return {("sqs:SendMessage", queue) for queue in LETTERS}
        case "sqs", "GetQueueAttributes":
            assert _name(parameters) in {_queue_name(lane.queue_url) for lane in _housekeepers_lanes(stack)}
            return {("sqs:GetQueueAttributes", queue) for queue in KEPT}
        case "sqs", "DeleteMessageBatch" | "ChangeMessageVisibilityBatch":
            # The stack's queues, by their names; the template's two lanes have one permission.
            assert _name(parameters) in {_queue_name(lane.queue_url) for lane in stack.lanes.values()}
            return {(f"sqs:{operation.removesuffix('Batch')}", queue) for queue in QUEUES}
    raise AssertionError(f"{service}:{operation} is a call that this test knows no permission for")


def _housekeepers_lanes(stack: Stack) -> list[Lane]:
    assert stack.housekeeper
    return list(stack.housekeeper.lanes.values())


def _name(parameters: dict[str, Any]) -> str:
    return _queue_name(parameters["QueueUrl"])


def _queue_name(url: str) -> str:
    return url.rpartition("/")[2]


def test_each_role_allows_what_its_function_does_and_nothing_else(role, keepers_role, reconcilers_role, needed):
    by_worker, by_housekeeper, by_reconciler = (needed[name] for name in ("worker", "housekeeper", "reconciler"))
    assert ("sqs:DeleteMessage", QUEUES[0]) in by_worker.grants, "it acknowledges before a risk"
    assert ("sqs:ChangeMessageVisibility", QUEUES[0]) in by_worker.grants, "and shortens the wait of what it hands back"
    assert ("sqs:SendMessage", REMOVALS) in by_worker.grants, "and passes removals on"
    _holds(role, by_worker, _lambdas_own(QUEUES, LOG))
    assert ("dynamodb:DeleteItem", TABLE) in by_housekeeper.grants
    assert ("sqs:SendMessage", LETTERS[1]) in by_housekeeper.grants
    _holds(keepers_role, by_housekeeper, _lambdas_own(KEPT, LOG.replace("WorkerLog", "HousekeeperLog")))
    assert ("sqs:SendMessage", QUEUES[1]) in by_reconciler.grants, "it has found something"
    _holds(reconcilers_role, by_reconciler, _lambdas_own([], LOG.replace("WorkerLog", "ReconcilerLog")))


def _holds(role: list[dict[str, Any]], calls: Needed, lambdas_own: set[Grant]) -> None:
    needed = calls.grants
    granted = {
        (action, resource)
        for policy in role
        for statement in policy["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert not {statement["Effect"] for policy in role for statement in policy["Statement"]} - {"Allow"}
    refused = {grant for grant in needed | lambdas_own if not allowed(Request(*_one(grant)), role)}
    assert refused == set(), "the function would be refused"
    assert granted - needed - lambdas_own == set(), "nothing that the function does needs this"
    for action, partitions in calls.partitions.items():
        for key in partitions:
            assert allowed(Request(action, TABLE, {LEADING: key}), role), f"{action} would be refused for {key}"
        for pattern in _partitions_named(role, action):
            assert any(fnmatchcase(key, pattern) for key in partitions), f"no {action} needs {pattern}"


LEADING = "dynamodb:LeadingKeys"


def _partitions_named(role: list[dict[str, Any]], action: str) -> set[str]:
    return {
        pattern
        for policy in role
        for statement in policy["Statement"]
        if action in listed(statement["Action"])
        for condition in statement.get("Condition", {}).values()
        for pattern in listed(condition.get(LEADING, []))
    }


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
    ("secretsmanager:GetSecretValue", "another"), ("secretsmanager:PutSecretValue", SECRET),
    ("secretsmanager:DeleteSecret", SECRET),
    ("sqs:SendMessage", QUEUE.format("LiveSpent")),
    ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/0a1b"),
]  # fmt: skip


# What only the housekeeper may: a decoder taken over deletes no record, and takes no removal and no spent message away.
HOUSEKEEPERS = [
    ("dynamodb:DeleteItem", TABLE), ("dynamodb:Query", TABLE), ("sqs:SendMessage", LETTERS[0]),
    *((f"sqs:{action}", queue) for queue in KEPT for action in ("ReceiveMessage", "DeleteMessage")),
]  # fmt: skip
WORKERS = [
    *((f"sqs:{action}", queue) for queue in QUEUES for action in ("ReceiveMessage", "DeleteMessage")),
    ("sqs:ChangeMessageVisibility", KEPT[0]), ("sqs:SendMessage", REMOVALS), ("sqs:PurgeQueue", REMOVALS),
    ("sqs:ReceiveMessage", LETTERS[0]), ("dynamodb:UpdateItem", TABLE),
]  # fmt: skip


@pytest.mark.parametrize(("action", "resource"), FORBIDDEN + HOUSEKEEPERS)
def test_whoever_takes_over_a_worker_may_not(role, action, resource):
    assert not allowed(Request(action, resource, ACCOUNT), role)


def test_whoever_takes_over_a_worker_can_neither_make_nor_spoil_a_mark(role, keepers_role):
    """Of a removal, so that an upload which it overtook would keep its record."""
    mark = Marks(None, "", Pseudonyms(b"secret")).partition("Images-name/a.jpg")
    for partition in (mark, "#reconciliation", "another-bucket/a.jpg", "Images-name-of-another/a.jpg"):
        assert not allowed(Request("dynamodb:PutItem", TABLE, {LEADING: partition}), role), partition
    assert allowed(Request("dynamodb:PutItem", TABLE, {LEADING: mark}), keepers_role)
    assert allowed(Request("dynamodb:BatchGetItem", TABLE, {LEADING: mark}), role), "it reads them"
    for partition in ("Images-name/a.jpg", "Images-name/#x/é *.jpg", "#models"):
        assert allowed(Request("dynamodb:PutItem", TABLE, {LEADING: partition}), role), partition


def test_whoever_takes_over_a_housekeeper_takes_no_mark_back_and_spoils_no_list(keepers_role):
    mark = Marks(None, "", Pseudonyms(b"secret")).partition("Images-name/a.jpg")
    own, others = "Images-name/a.jpg", ("another-bucket/a.jpg", "#models", "#reconciliation")
    for action, allows in (("PutItem", {own, mark}), ("DeleteItem", {own})):
        for partition in (own, mark, *others):
            request = Request(f"dynamodb:{action}", TABLE, {LEADING: partition})
            assert allowed(request, keepers_role) is (partition in allows), request


@pytest.mark.parametrize(("action", "resource"), FORBIDDEN + WORKERS)
def test_nor_may_a_housekeeper(keepers_role, action, resource):
    assert not allowed(Request(action, resource, ACCOUNT), keepers_role)


@pytest.mark.parametrize("name", ["WorkerRole", "HousekeeperRole"])
def test_a_key_of_ones_own_may_be_used_through_the_services_only(template, name):
    key = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
    role = _role(template, name, EncryptionKey=key)
    for service in ("s3", "sqs", "dynamodb", "secretsmanager"):
        assert allowed(Request("kms:Decrypt", key, {"kms:ViaService": f"{service}.eu-central-1.amazonaws.com"}), role)
    assert not allowed(Request("kms:Decrypt", key, {}), role), "by hand"
    assert not allowed(Request("kms:Decrypt", key + "9", {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}), role)
    assert not allowed(Request("kms:ScheduleKeyDeletion", key, {}), role)
    generate = "kms:GenerateDataKey"  # SQS needs it to take a message
    assert allowed(Request(generate, key, {"kms:ViaService": "sqs.eu-central-1.amazonaws.com"}), role)
    assert not allowed(Request(generate, key, {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}), role)


@pytest.mark.parametrize(
    ("case", "let_in", "context"),
    [
        ("this stack's bucket", True, {}),
        ("another bucket of this account", False, {"aws:SourceArn": "arn:aws:s3:::another"}),
        ("a bucket of that name in another account", False, {"aws:SourceAccount": "999999999999"}),
        ("this stack's bucket without TLS", False, {"aws:SecureTransport": "false"}),
    ],
)
def test_only_this_stacks_bucket_fills_the_queues_that_it_notifies(template, case, let_in, context):
    name = "dermbatch-0a1b"
    resources = resolved(template)["Resources"]
    assert resources["Images"]["Properties"]["BucketName"] == name
    circumstances = {
        "aws:SourceArn": f"arn:aws:s3:::{name}", "aws:SourceAccount": "123456789012",
        "aws:PrincipalIsAWSService": "true", "aws:SecureTransport": "true",
    }  # fmt: skip
    for queue, policy in ((QUEUES[0], "LiveQueuePolicy"), (REMOVALS, "RemovalsQueuePolicy")):
        request = Request("sqs:SendMessage", queue, circumstances | context, service="s3.amazonaws.com")
        assert allowed(request, [resources[policy]["Properties"]["PolicyDocument"]]) is let_in, case


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
        "RemovalsQueuePolicy": [("sqs:SendMessage", REMOVALS), ("sqs:ReceiveMessage", REMOVALS)],
        "HousekeepingQueuesPolicy": [
            (action, queue) for action in ("sqs:SendMessage", "sqs:ReceiveMessage") for queue in (KEPT[1], LETTERS[0])
        ],
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
