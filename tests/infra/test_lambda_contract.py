"""The event and the answer, as AWS documents them for SQS event sources."""

from __future__ import annotations

import time

import pytest

from infra.lambda_contract import LambdaContext, ResponseError, failed_messages, lambda_event
from infra.stack import Lane

LANE = Lane(
    name="Live",
    queue_url="http://127.0.0.1/000000000000/uploads",
    queue_arn="arn:aws:sqs:eu-central-1:123456789012:uploads",
    spent_url="http://127.0.0.1/000000000000/spent",
    dlq_url="http://127.0.0.1/000000000000/dead",
    batch_size=10,
    window=0,
    max_receives=5,
    visibility_timeout=780,
    reports_item_failures=True,
)


def test_the_event_is_lambdas():
    """The key names and nesting of the event in the Lambda developer guide, "Using Lambda with Amazon SQS"."""
    message = {
        "MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "Body": '{"Records": []}',
        "MD5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "MD5OfMessageAttributes": "00484c68eb5b4e0f9ec4a4ee8ff2b21f",
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
        "MessageAttributes": {
            "reason": {"DataType": "String", "StringValue": "backfill"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    }
    assert lambda_event([message], LANE) == {
        "Records": [
            {
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": '{"Records": []}',
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
                "messageAttributes": {
                    "reason": {
                        "stringValue": "backfill",
                        "stringListValues": [],
                        "binaryListValues": [],
                        "dataType": "String",
                    },
                    "raw": {
                        "binaryValue": "AP8=",
                        "stringListValues": [],
                        "binaryListValues": [],
                        "dataType": "Binary",
                    },
                },
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "md5OfMessageAttributes": "00484c68eb5b4e0f9ec4a4ee8ff2b21f",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:uploads",
                "awsRegion": "eu-central-1",
            }
        ]
    }


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}])
def test_an_empty_answer_is_success(response):
    assert failed_messages(response, ["a", "b"], reports_item_failures=True) == set()


def test_named_messages_fail_and_no_others():
    response = {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}
    assert failed_messages(response, ["a", "b"], reports_item_failures=True) == {"b"}
    assert failed_messages(response, ["a", "b"], reports_item_failures=False) == set()


@pytest.mark.parametrize(
    "response",
    [
        "done",
        [],
        {"batchItemFailures": "b"},
        {"batchItemFailures": ["b"]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemidentifier": "b"}]},
        {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "of another batch"}]},
    ],
)
def test_an_answer_that_lambda_cannot_read_fails_the_batch(response):
    with pytest.raises(ResponseError):
        failed_messages(response, ["a", "b"], reports_item_failures=True)


def test_remaining_time_runs_out_and_stays_out():
    context = LambdaContext("worker", 1769, "arn", deadline=time.monotonic() + 10)
    assert 9_000 < context.get_remaining_time_in_millis() <= 10_000
    assert LambdaContext("worker", 1769, "arn", deadline=time.monotonic() - 1).get_remaining_time_in_millis() == 0
