"""News of results: which changes of the table become messages, what these hold, and who may send them."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from pipe_rules import matches, message
from policy_simulator import Request, allowed
from sample_images import jpeg
from transformed_template import default_template, resolved

from handler.configuration import Settings
from handler.housekeeper import Housekeeper
from handler.store.record import NOTICE
from handler.worker import Worker
from infra.stack import deploy
from infra.worker_loop import function_environment, run_worker

if TYPE_CHECKING:
    from pathlib import Path

    from infra.embedded_aws import Endpoint
    from infra.stack import Stack

STREAM = "Predictions.StreamArn"
TOPIC = "ResultsTopic-name"
ROLE = "arn:aws:iam::123456789012:role/ResultsPipeRole-name"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"


def _made(**parameters: str) -> dict[str, Any]:
    made: dict[str, Any] = resolved(_template(), **parameters)["Resources"]
    return made


_template = cache(default_template)


def _published(notify: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the pipe makes of `events`."""
    pipe = _made(Notify=notify)["ResultsPipe"]["Properties"]
    (criteria,) = pipe["SourceParameters"]["FilterCriteria"]["Filters"]
    template = pipe["TargetParameters"]["InputTemplate"]
    return [message(template, event) for event in events if matches(json.loads(criteria["Pattern"]), event)]


def test_by_default_there_is_no_stream_no_pipe_and_no_topic():
    made = _made()
    assert not [name for name in made if name.startswith("Results")]
    assert "StreamSpecification" not in made["Predictions"]["Properties"]


def test_the_stream_holds_no_record_as_it_was_before():
    assert _made(Notify="all")["Predictions"]["Properties"]["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


@pytest.mark.integration
class TestTheTablesOwnStream:
    """Of an upload that is classified, one that is rejected, and one that is erased again."""

    @pytest.fixture
    def events(self, written: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return deepcopy(written)

    @pytest.fixture(scope="class")
    def written(self, endpoint: Endpoint, tiny_bundle: Path) -> list[dict[str, Any]]:
        stack = deploy(endpoint, name="news", parameters={"Notify": "all", "BatchSize": 10, "BatchWindowSeconds": 0})
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in (function_environment(stack, {}) | {"MODEL_BUNDLE": str(tiny_bundle)}).items():
                patch.setenv(name, value)
            settings = Settings.from_environment()
            worker, keeper = Worker.start(settings), Housekeeper.start(settings)
        s3 = stack.endpoint.client("s3")
        for key, content in (('clinic/"a".jpg', jpeg(1)), ("b.jpg", b"no image"), ("gone.jpg", jpeg(2))):
            s3.put_object(Bucket=stack.bucket, Key=key, Body=content)
        run_worker(stack, worker.handle, retry_after=0)
        s3.delete_object(Bucket=stack.bucket, Key="gone.jpg")
        run_worker(stack.housekeeper, keeper.handle, lane=stack.housekeeper.lanes["Removals"], retry_after=0)
        return _stream(stack)

    def test_every_record_is_news_once_and_an_erasure_is_none(self, events):
        assert {event["eventName"] for event in events} == {"INSERT", "REMOVE"}
        news = _published("all", events)
        assert sorted(one["image"].partition("/")[2] for one in news) == ["b.jpg", 'clinic/"a".jpg', "gone.jpg"]
        assert {one["notice"] for one in news} == {NOTICE}

    def test_a_message_says_which_image_and_what_was_decided_and_nothing_else(self, events):
        stored = {event["dynamodb"]["NewImage"]["image"]["S"]: event for event in events if "status" in _new(event)}
        for one in _published("all", events):
            record = _new(stored[one["image"]])
            assert set(one) == {"image", "version", "status", "triage", "notice"}
            assert one["version"] == record["version"]["S"]
            assert one["status"] == record["status"]["S"]
            assert one["triage"] == record.get("triage", {}).get("S"), "what is rejected has none"

    def test_urgent_ones_only(self, events):
        for event in events:
            if "triage" in _new(event):
                event["dynamodb"]["NewImage"]["triage"] = {"S": "routine"}
        assert _published("urgent", events) == []
        (first, *_) = (event for event in events if "triage" in _new(event))
        first["dynamodb"]["NewImage"]["triage"] = {"S": "urgent"}
        (news,) = _published("urgent", events)
        assert (news["image"], news["triage"]) == (_new(first)["image"]["S"], "urgent")

    def test_a_failed_record_that_gives_way_to_an_answer_is_news_again(self, events):
        changed = next(event for event in events if "status" in _new(event))
        assert len(_published("all", [{**changed, "eventName": "MODIFY"}])) == 1


def _new(event: dict[str, Any]) -> dict[str, Any]:
    image: dict[str, Any] = event["dynamodb"].get("NewImage", {})
    return image


def _stream(stack: Stack) -> list[dict[str, Any]]:
    streams = stack.endpoint.client("dynamodbstreams")
    (stream,) = streams.list_streams(TableName=stack.table)["Streams"]
    found = []
    for shard in streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found += streams.get_records(ShardIterator=iterator)["Records"]
    return found


def _role(**parameters: str) -> list[dict[str, Any]]:
    properties = _made(Notify="all", **parameters)["ResultsPipeRole"]["Properties"]
    return [policy["PolicyDocument"] for policy in properties["Policies"]]


def test_the_pipe_may_read_the_stream_and_publish_and_nothing_else():
    granted = {
        (action, statement["Resource"])
        for policy in _role()
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    reads = {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}
    assert granted == {(action, STREAM) for action in reads} | {("sns:Publish", TOPIC)}


def test_only_pipes_of_this_account_take_that_role():
    (statement,) = _made(Notify="all")["ResultsPipeRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "pipes.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:pipes:eu-central-1:123456789012:pipe/*"},
    }


@pytest.mark.parametrize(
    ("who", "tls", "may"),
    [(ROLE, "true", True), (ROLE, "false", False), (ROLE.replace("Pipe", "Worker"), "true", False)],
)
def test_nobody_but_the_pipe_makes_up_news(who, tls, may):
    generous = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policy = _made(Notify="all")["ResultsTopicPolicy"]["Properties"]["PolicyDocument"]
    request = Request("sns:Publish", TOPIC, {"aws:PrincipalArn": who, "aws:SecureTransport": tls})
    assert allowed(request, [generous, policy]) is may


def test_the_worker_publishes_nothing():
    for policy in _made(Notify="all")["WorkerRole"]["Properties"]["Policies"]:
        assert "sns:" not in json.dumps(policy)


def test_messages_are_encrypted_and_a_key_of_ones_own_is_used_through_the_services():
    assert _made(Notify="all")["ResultsTopic"]["Properties"]["KmsMasterKeyId"] == "alias/aws/sns"
    assert _made(Notify="all", EncryptionKey=KEY)["ResultsTopic"]["Properties"]["KmsMasterKeyId"] == KEY
    role = _role(EncryptionKey=KEY)
    for service in ("dynamodb", "sns"):
        through = {"kms:ViaService": f"{service}.eu-central-1.amazonaws.com"}
        assert allowed(Request("kms:Decrypt", KEY, through), role)
    assert not allowed(Request("kms:Decrypt", KEY, {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}), role)
    assert not allowed(Request("kms:Decrypt", KEY), role)
