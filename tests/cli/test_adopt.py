"""A new stack begins with the bucket and the table that outlived its predecessor, or with a bucket that is there."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from cli import adopt as adopting
from cli.app import main
from infra.stack import Stack, deploy
from infra.template import read_template

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

_numbers = itertools.count(1)


@pytest.fixture
def orphans(reached: Stack) -> Stack:
    """A stack that was deleted. Its bucket holds an image, its table a record."""
    reached.endpoint.client("s3").put_object(Bucket=reached.bucket, Key="a.jpg", Body=b"image")
    item = {"image": {"S": f"{reached.bucket}/a.jpg"}, "version": {"S": "1#1"}}
    reached.endpoint.client("dynamodb").put_item(TableName=reached.table, Item=item)
    cloudformation = reached.endpoint.client("cloudformation")
    cloudformation.delete_stack(StackName=reached.name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=reached.name, WaiterConfig={"Delay": 1})
    return reached


def _adopt(stack: str, *arguments: str) -> int:
    return main(["adopt", "--stack", stack, "--yes", *arguments])


def _name() -> str:
    return f"heir-{next(_numbers)}"


def test_a_new_stack_goes_on_with_the_bucket_and_the_table_of_a_deleted_one(orphans: Stack, capsys):
    name = _name()
    assert _adopt(name, "--bucket", orphans.bucket, "--table", orphans.table) == 0
    assert f"BucketName={orphans.bucket} TableName={orphans.table}" in capsys.readouterr().out
    given = {"BucketName": orphans.bucket, "TableName": orphans.table, "BatchSize": 10, "BatchWindowSeconds": 0}
    heir = deploy(orphans.endpoint, name=name, parameters=given, exists=True)
    assert (heir.bucket, heir.table) == (orphans.bucket, orphans.table)
    (record,) = heir.endpoint.client("dynamodb").scan(TableName=heir.table)["Items"]
    assert record["version"] == {"S": "1#1"}
    s3 = heir.endpoint.client("s3")
    assert s3.get_object(Bucket=heir.bucket, Key="a.jpg")["Body"].read() == b"image"
    notified = s3.get_bucket_notification_configuration(Bucket=heir.bucket)["QueueConfigurations"]
    queues = {heir.live.queue_arn, heir.housekeeper.lanes["Removals"].queue_arn}
    assert {one["QueueArn"] for one in notified} == queues, "and no longer the former stack's"
    s3.put_object(Bucket=heir.bucket, Key="b.jpg", Body=b"another")
    sqs = heir.endpoint.client("sqs")
    received: list[Any] = []
    while not any("b.jpg" in message["Body"] for message in received):
        received = sqs.receive_message(QueueUrl=heir.queue_url, WaitTimeSeconds=5, MaxNumberOfMessages=10)["Messages"]
    assert {one["Sid"] for one in json.loads(s3.get_bucket_policy(Bucket=heir.bucket)["Policy"])["Statement"]}


def test_a_bucket_that_is_there_without_any_stack_becomes_a_stacks(reached: Stack):
    s3 = reached.endpoint.client("s3")
    s3.create_bucket(Bucket="archive-of-a-clinic", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    name = _name()
    assert _adopt(name, "--bucket", "archive-of-a-clinic") == 0
    heir = deploy(reached.endpoint, name=name, parameters={"BucketName": "archive-of-a-clinic"}, exists=True)
    assert heir.bucket == "archive-of-a-clinic"
    assert s3.get_bucket_versioning(Bucket=heir.bucket)["Status"] == "Enabled"


def test_a_policy_that_somebody_else_wrote_is_not_replaced_unasked(reached: Stack, capsys):
    s3 = reached.endpoint.client("s3")
    s3.create_bucket(Bucket="shared-by-others", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    statement = {"Sid": "Ours", "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "arn:aws:s3:::shared-by-others/*"}]}
    s3.put_bucket_policy(Bucket="shared-by-others", Policy=json.dumps(policy))
    assert _adopt(_name(), "--bucket", "shared-by-others") == 4
    assert "has a policy of its own" in capsys.readouterr().err
    assert json.loads(s3.get_bucket_policy(Bucket="shared-by-others")["Policy"]) == policy


def test_what_does_not_fit_is_refused_in_a_sentence_and_nothing_is_changed(reached: Stack, capsys):
    keys = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    reached.endpoint.client("dynamodb").create_table(TableName="customers", BillingMode="PAY_PER_REQUEST", **keys)
    stacks = len(reached.endpoint.client("cloudformation").describe_stacks()["Stacks"])
    for arguments, sentence in (
        (["--bucket", reached.bucket, "--table", "customers"], "customers is no table of records"),
        (["--bucket", reached.bucket, "--table", "missing"], "ResourceNotFound"),
        (["--bucket", "no-such-bucket"], "NoSuchBucket"),
        (["--bucket", reached.bucket], "belongs to|already"),
    ):
        assert _adopt(_name(), *arguments) == 4
        told = capsys.readouterr().err
        assert any(part in told for part in sentence.split("|")), told
    assert _adopt(reached.name, "--bucket", reached.bucket) == 4
    assert "only a new stack adopts" in capsys.readouterr().err
    assert len(reached.endpoint.client("cloudformation").describe_stacks()["Stacks"]) == stacks
    assert reached.endpoint.client("s3").get_bucket_policy(Bucket=reached.bucket), "the other stack's, untouched"


def test_no_answer_is_a_no(reached: Stack, monkeypatch, capsys):
    monkeypatch.setattr(adopting, "confirm", lambda _: False)
    assert main(["adopt", "--stack", _name(), "--bucket", reached.bucket]) == 1
    assert "Nothing was changed" in capsys.readouterr().err


def test_the_import_states_what_a_deployment_could_not_change_and_nothing_that_it_should():
    """What the import leaves out, such as the notifications, the deployment after it sets."""
    declared = read_template()["Resources"]
    template = adopting.import_template("images", "records")["Resources"]
    assert template["Images"]["Properties"] == {"BucketName": "images"}
    table = template["Predictions"]["Properties"]
    for name in ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes"):
        assert table[name] == declared["Predictions"]["Properties"][name]
    assert all(one["DeletionPolicy"] == "Retain" for one in template.values()), "CloudFormation demands it"
    assert "Fn::" not in json.dumps(template)


def test_versions_says_so_where_no_lambda_publishes_any(reached: Stack, capsys):
    assert main(["versions", "--stack", reached.name]) == 0
    assert "without Lambda" in capsys.readouterr().err


@pytest.fixture
def published(endpoint, monkeypatch) -> Callable[[int], Any]:
    """A function with so many versions, in a stack with the outputs of ours; its alias names the second one."""

    def create(versions: int) -> Any:
        name = f"published-{next(_numbers)}"
        role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17"}}}
        code = {"Runtime": "python3.13", "Handler": "index.handler", "Code": {"ZipFile": "handler = print"}}
        function = {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}, **code}}
        outputs = {key: {"Value": "x"} for key in ("BucketName", "TableName", "BulkQueueUrl")}
        template = {
            "Resources": {"Role": role, "Worker": function},
            "Outputs": {**outputs, "WorkerName": {"Value": {"Ref": "Worker"}}},
        }
        cloudformation = endpoint.client("cloudformation")
        cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        (worker,) = [one["OutputValue"] for one in described["Outputs"] if one["OutputKey"] == "WorkerName"]
        lambda_ = endpoint.client("lambda")
        for number in range(versions):
            lambda_.update_function_configuration(FunctionName=worker, Description=str(number))
            lambda_.publish_version(FunctionName=worker)
        lambda_.create_alias(FunctionName=worker, Name="live", FunctionVersion="2")
        for variable, value in endpoint.environment().items():
            monkeypatch.setenv(variable, value)
        return name, lambda_, worker

    return create


def _versions(lambda_: Any, worker: str) -> list[str]:
    return [one["Version"] for one in lambda_.list_versions_by_function(FunctionName=worker)["Versions"]]


def test_old_versions_go_except_the_newest_and_the_one_that_an_alias_names(published, capsys):
    stack, lambda_, worker = published(6)
    assert main(["versions", "--stack", stack, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{worker}:{n} would be deleted" for n in (3, 1)]
    assert len(_versions(lambda_, worker)) == 7
    assert main(["versions", "--stack", stack]) == 0
    assert sorted(_versions(lambda_, worker)) == ["$LATEST", "2", "4", "5", "6"]
    assert main(["versions", "--stack", stack, "--keep", "1"]) == 0
    assert sorted(_versions(lambda_, worker)) == ["$LATEST", "2", "6"]
