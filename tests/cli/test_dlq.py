"""`dermbatch dlq`: dead letters with their reasons, and a redrive that loses nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from cli import dlq
from cli.app import main
from handler.errors import TryAgainError
from handler.intake.messages import Removal, Upload, removal_body
from handler.store.objects import Current, message
from handler.store.record import Finding, build_record
from handler.store.table import PredictionsTable

pytestmark = pytest.mark.integration
BUNDLE = SimpleNamespace(name="m", version="1.0.0", digest="sha256:0")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _bury(stack, key: str, code: str | None = None) -> str:
    """A dead letter of one upload, whose record failed for `code`; returns its id."""
    body = message(stack.bucket, Current(key, "v1", "e", 3, NOW))
    if code:
        finding = Finding(Upload(stack.bucket, key, "v1", "e", None), TryAgainError(code, f"It was {code}."))
        client = stack.endpoint.client("dynamodb")
        PredictionsTable(client, stack.table).put(build_record(finding, BUNDLE, "request", NOW))
    return stack.endpoint.client("sqs").send_message(QueueUrl=stack.dlq_url, MessageBody=body)["MessageId"]


def _keys(stack, url: str) -> list[str]:
    """Takes what is visible in a queue."""
    found = []
    asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
    while got := stack.endpoint.client("sqs").receive_message(**asked).get("Messages"):
        bodies = [json.loads(one["Body"]) for one in got]
        found += [body["Records"][0]["s3"]["object"]["key"] if "Records" in body else "?" for body in bodies]
    return sorted(found)


def _rows(capsys, *arguments: str) -> list[dict]:
    capsys.readouterr()
    assert main(["dlq", "list", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_letters_are_listed_with_the_reason_of_their_record_and_stay(reached, capsys):
    stack = ["--stack", reached.name]
    for number in range(11):
        _bury(reached, f"{number:02}.jpg", "table_unavailable")
    _bury(reached, "unknown.jpg")
    reached.endpoint.client("sqs").send_message(QueueUrl=reached.dlq_url, MessageBody='{"no": "event"}')
    for _ in range(2):  # the second time shows that the first one left them visible
        rows = _rows(capsys, *stack)
        assert sorted(row["code"] for row in rows) == [
            "no_record", *["table_unavailable"] * 11, "unreadable_message",
        ]  # fmt: skip
    (row,) = (row for row in rows if row["image"] == f"{reached.bucket}/03.jpg")
    assert (row["status"], row["sentence"], row["lane"]) == ("failed", "It was table_unavailable.", "live")
    assert len(_rows(capsys, *stack, "--only", "no_record")) == 1
    assert len(_rows(capsys, *stack, "--limit", "3")) == 3
    assert _rows(capsys, *stack, "--lane", "bulk") == []
    assert len(_keys(reached, reached.dlq_url)) == 13


def test_a_deletion_whose_records_could_not_be_erased_is_listed_and_sent_back(reached, capsys):
    removals = reached.housekeeper.lanes["Removals"]
    removal = Removal(reached.bucket, "a.jpg", "v1", marker=False, removed_at="2026-11-23T09:30:00.125Z")
    sqs = reached.endpoint.client("sqs")
    sqs.send_message(QueueUrl=removals.dlq_url, MessageBody=removal_body(removal))
    (row,) = _rows(capsys, "--stack", reached.name, "--lane", "removals")
    assert (row["lane"], row["code"], row["image"]) == ("removals", "removal", f"{reached.bucket}/a.jpg")
    assert main(["dlq", "redrive", "--stack", reached.name]) == 0
    assert _keys(reached, removals.queue_url) == ["a.jpg"]


def test_one_letter_is_shown_whole(reached, capsys):
    letter = _bury(reached, "a.jpg", "out_of_time")
    assert main(["dlq", "show", letter, "--stack", reached.name]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["reasons"] == [{"code": "out_of_time", "sentence": "It was out_of_time."}]
    assert shown["records"][0]["image"] == f"{reached.bucket}/a.jpg"
    assert shown["body"]["Records"][0]["s3"]["object"]["key"] == "a.jpg"
    assert main(["dlq", "show", "nothing-like-it", "--stack", reached.name]) == 1
    assert "No dead letter has the id nothing-like-it" in capsys.readouterr().err


def test_only_the_chosen_letters_go_back(reached, capsys):
    for key, code in (("a", "out_of_time"), ("b", "internal_error"), ("c", "out_of_time")):
        _bury(reached, key, code)
    only = ["dlq", "redrive", "--stack", reached.name, "--only", "out_of_time"]
    assert main([*only, "--dry-run"]) == 0
    assert "2 dead letters with the reason out_of_time would be sent back." in capsys.readouterr().err
    assert main([*only, "--limit", "1"]) == 0
    assert main(only) == 0
    assert _keys(reached, reached.queue_url) == ["a", "c"]
    assert _keys(reached, reached.dlq_url) == ["b"]


def test_a_limit_that_is_reached_leaves_the_next_lane_untouched(reached, capsys):
    bulk = reached.lanes["Bulk"]
    body = message(reached.bucket, Current("bulk.jpg", "v1", "e", 3, NOW))
    sqs = reached.endpoint.client("sqs")
    sqs.send_message(QueueUrl=bulk.dlq_url, MessageBody=body)
    for key in ("a", "b"):
        _bury(reached, key, "out_of_time")
    assert main(["dlq", "redrive", "--stack", reached.name, "--limit", "2"]) == 0
    assert "2 dead letters sent back" in capsys.readouterr().err
    names = ["ApproximateReceiveCount"]
    (letter,) = sqs.receive_message(QueueUrl=bulk.dlq_url, MessageSystemAttributeNames=names)["Messages"]
    assert letter["Attributes"]["ApproximateReceiveCount"] == "1", "only this look at it"
    assert _keys(reached, reached.queue_url) == ["a", "b"]


@pytest.mark.parametrize("interrupted", ["send_message", "delete_message"])
def test_an_interruption_loses_no_letter(reached, monkeypatch, capsys, interrupted):
    for key in ("a", "b", "c"):
        _bury(reached, key, "out_of_time")
    calls = []
    whole = dlq.DeadLetters.send_back

    class Interrupting:
        def __init__(self, sqs):
            self._sqs = sqs

        def __getattr__(self, name):
            if name == interrupted:
                calls.append(name)
                if len(calls) == 2:
                    raise KeyboardInterrupt
            return getattr(self._sqs, name)

    def send_back(self, letter):
        return whole(dlq.DeadLetters(self.lane, self.url, self.source_url, Interrupting(self.sqs)), letter)

    monkeypatch.setattr(dlq.DeadLetters, "send_back", send_back)
    assert main(["dlq", "redrive", "--stack", reached.name]) == 130
    assert "No letter is lost" in capsys.readouterr().err
    assert {*_keys(reached, reached.queue_url), *_keys(reached, reached.dlq_url)} == {"a", "b", "c"}


def test_a_missing_permission_is_one_sentence(reached, monkeypatch, capsys):
    _bury(reached, "a", "out_of_time")
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "Access denied."}}, "SendMessage")

    def refuse(*_):
        raise denied

    monkeypatch.setattr(dlq.DeadLetters, "send_back", refuse)
    assert main(["dlq", "redrive", "--stack", reached.name]) == 4
    error = capsys.readouterr().err
    assert error.startswith("dlq redrive: An error occurred (AccessDenied)")
    assert error.count("\n") == 1
    assert _keys(reached, reached.dlq_url) == ["a"]


@pytest.mark.parametrize(
    "arguments", [["list", "--json", "--csv"], ["list", "--lane", "slow"], ["show"], ["redrive", "--limit", "0"]]
)
def test_wrong_usage(arguments, capsys):
    assert main(["dlq", *arguments]) == 2
    assert not capsys.readouterr().out
