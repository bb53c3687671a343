"""What comes back without a word is tried alone, behind a record that says so; tests/faults kills real processes."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from s3_events import Put, handed_back, message, notification
from sample_images import jpeg
from worker_rig import BOTH_CLOUDS, Countdown, answer, counted, items, states

from handler.errors import TryAgainError
from handler.intake.events import read_event
from handler.store.record import Finding, build_record

if TYPE_CHECKING:
    from collections.abc import Sequence


def batch(*deliveries: tuple[Put, int], sent: datetime | None = None, ago: float | None = None) -> dict:
    """An event of (upload, receive count) pairs, `message-0` first, all first received `ago` seconds ago."""
    records = [message(number, notification(put), receives) for number, (put, receives) in enumerate(deliveries)]
    for one in records:
        one["attributes"]["SentTimestamp"] = str(int((sent or datetime(2026, 1, 1, tzinfo=UTC)).timestamp() * 1000))
        if ago is not None:
            one["attributes"]["ApproximateFirstReceiveTimestamp"] = str(int((time.time() - ago) * 1000))
    return {"Records": records}


@pytest.fixture
def puts(bucket) -> list[Put]:
    return [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(4)]


@pytest.fixture
def died_on(table, rig):
    """Leaves what a process leaves that died on an upload, `attempts` times."""

    def leave(put: Put, attempts: int) -> None:
        (upload,) = read_event(notification(put)).messages[0].uploads
        found = Finding(upload, TryAgainError("unfinished", "Begun."))
        assert table.put(build_record(found, rig.classifier.bundle, "dead"), attempts=attempts)

    return leave


@pytest.fixture
def fetched(rig) -> list[str]:
    """The keys that are fetched, in order."""
    keys: list[str] = []
    rig.s3.meta.events.register(
        "before-parameter-build.s3.GetObject", lambda params, **_: keys.append(params["Key"]), unique_id="order"
    )
    return keys


def test_a_suspect_is_recorded_as_begun_before_it_is_touched(rig, table, puts):
    seen = []
    rig.break_call("s3.GetObject", lambda _: seen.append({**states(table)}))
    assert handed_back(rig.handle(batch((puts[0], 2)))) == []
    assert seen == [{"0.jpg": "failed"}]
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_what_says_so_tells_a_person_what_happened(rig, table, puts):
    found = []
    rig.break_call("s3.GetObject", lambda _: found.extend(table.everything()))
    rig.handle(batch((puts[0], 2)))
    (reason,) = found[0]["reasons"]
    assert reason["code"] == "unfinished"
    assert "has not reported back" in reason["sentence"]


def test_what_is_new_is_brought_to_its_end_before_a_suspect_is_touched(rig, table, puts, fetched):
    seen = []
    rig.break_call("s3.GetObject", lambda n: seen.append(set(states(table))) if n == 2 else None)
    rig.handle(batch((puts[0], 3), (puts[1], 1), (puts[2], 1)))
    assert fetched[-1] == "0.jpg"
    assert seen == [{"0.jpg", "1.jpg", "2.jpg"}]


def test_suspects_are_tried_one_after_the_other_the_least_suspicious_and_most_pressing_first(
    rig, table, puts, fetched, died_on
):
    died_on(puts[0], 1)
    begun = []
    rig.break_call("s3.GetObject", lambda _: begun.append(sum(s == "failed" for s in states(table).values())))
    rig.handle(batch((puts[0], 3), (puts[1], 3), (puts[2], 2)))
    assert fetched == ["1.jpg", "2.jpg", "0.jpg"]
    assert begun == [2, 2, 1], "never more than one begun beside the one that had died"


# (receive, seconds since the first, whether a death fits in): the hand-backs alone take 12, 49 and 195 s.
TIMES = [(2, 15, False), (2, 600, False), (2, 780, True), (3, 70, False), (3, 800, True), (4, 260, False)]


@pytest.mark.parametrize(("receives", "ago", "suspect"), TIMES)
def test_what_was_handed_back_is_no_suspect_whoever_handed_it_back(make_rig, table, puts, receives, ago, suspect):
    rig = make_rig(MAX_RECEIVES=9)
    writes = rig.break_call("dynamodb.PutItem", lambda _: None)
    assert handed_back(rig.handle(batch((puts[0], receives), ago=ago))) == []
    assert len(writes) == (2 if suspect else 1)


def test_a_message_whose_times_nobody_tells_is_a_suspect(rig, table, puts):
    writes = rig.break_call("dynamodb.PutItem", lambda _: None)
    assert handed_back(rig.handle(batch((puts[0], 2)))) == []
    assert len(writes) == 2


def test_of_several_messages_that_name_an_upload_one_whose_worker_died_suffices(rig, table, puts):
    writes = rig.break_call("dynamodb.PutItem", lambda _: None)
    alive, dead = batch((puts[0], 2), ago=20), batch((puts[0], 2), ago=800)
    rig.handle({"Records": alive["Records"] + dead["Records"]})
    assert len(writes) == 2


def test_the_last_receive_is_recorded_as_begun_in_any_case(rig, table, puts):
    """Nothing else would leave a `failed` record of an image that ends this process, or outlasts the invocation."""
    seen = []
    rig.break_call("s3.GetObject", lambda n: seen.append(states(table)) if n else answer(403))
    rig.handle(batch((puts[0], 4)))
    rig.handle(batch((puts[0], 5)))
    assert seen == [{"0.jpg": "failed"}]


def test_the_last_receive_is_recorded_as_begun_before_any_neighbour_is_touched(rig, table, puts):
    """A neighbour that ends this process must not take that record along."""
    seen = []
    rig.break_call("s3.GetObject", lambda n: seen.append(states(table)) if n == 0 else None)
    assert handed_back(rig.handle(batch((puts[0], 5), (puts[1], 1)))) == []
    assert seen == [{"0.jpg": "failed"}]


def test_a_table_out_of_reach_on_the_last_receive_leaves_a_record_all_the_same(make_rig, table, puts, monkeypatch):
    """It was written on the receive before, while a neighbour had its turn."""
    from handler import aws

    monkeypatch.setattr(aws, "PASSING", frozenset())
    dies = RuntimeError("as a killed process leaves its messages: without an answer")
    rig = make_rig()
    rig.break_call("s3.GetObject", lambda _: dies)
    rig.break_call("dynamodb.DeleteItem", lambda _: answer(403))  # a dead process takes nothing back
    rig.handle(batch((puts[0], 4), (puts[1], 4)))
    gone = make_rig()
    gone.break_call("dynamodb.BatchGetItem", lambda _: answer(400, '{"__type": "x#ExpiredTokenException"}'))
    gone.break_call("dynamodb.PutItem", lambda _: answer(400, '{"__type": "x#ExpiredTokenException"}'))
    event = batch((puts[0], 5), (puts[1], 5))
    assert handed_back(gone.handle(event, Countdown(seconds=4))) == ["message-0", "message-1"]
    assert states(table) == {"0.jpg": "failed", "1.jpg": "failed"}


class TestNearTheEndOfItsReceivesEveryFailureIsRecorded:
    @pytest.fixture
    def forbidden(self, rig):
        return rig.break_call("s3.GetObject", lambda _: answer(403, "<Error><Code>AccessDenied</Code></Error>"))

    @pytest.mark.parametrize("ago", [300, 1500], ids=["handed back before", "a worker died before"])
    def test_on_the_last_receive_but_one_suspect_or_not(self, rig, table, puts, forbidden, ago):
        assert handed_back(rig.handle(batch((puts[0], 4), ago=ago))) == ["message-0"]
        (found,) = table.everything()
        assert (found["status"], found["reasons"][0]["code"]) == ("failed", "storage_unavailable")

    def test_not_before(self, rig, table, puts, forbidden):
        assert handed_back(rig.handle(batch((puts[0], 3), ago=60))) == ["message-0"]
        assert states(table) == {}

    def test_it_gives_way_to_the_answer(self, rig, table, puts):
        rig.break_call("s3.GetObject", lambda n: answer(403) if n == 0 else None)
        assert handed_back(rig.handle(batch((puts[0], 4), ago=300))) == ["message-0"]
        assert states(table) == {"0.jpg": "failed"}
        assert handed_back(rig.handle(batch((puts[0], 5), ago=700))) == []
        assert states(table)["0.jpg"] in {"classified", "referred"}

    def test_no_death_is_forgotten_over_it(self, rig, table, puts, died_on, forbidden):
        died_on(puts[0], 1)
        rig.handle(batch((puts[0], 4), ago=1500))
        (item,) = items()
        assert item["attempts"] == {"N": "1"}

    def test_nor_where_the_table_could_not_be_looked_up(self, rig, table, puts, died_on):
        died_on(puts[0], 1)
        rig.break_call("dynamodb.BatchGetItem", lambda _: answer(400, '{"__type": "x#ExpiredTokenException"}'))
        rig.handle(batch((puts[0], 4), ago=1500))
        (item,) = items()
        assert item["attempts"] == {"N": "1"}

    def test_only_the_last_counts_as_failed(self, rig, table, puts, forbidden, capsys):
        counted(capsys)
        for receives, failed in ((4, 0), (5, 1)):
            rig.handle(batch((puts[0], receives), ago=300))
            assert sum(counted(capsys).get("Failed", [])) == failed

    def test_a_death_on_the_last_receive_but_one_leaves_it_too_though_the_upload_was_no_suspect(self, rig, table, puts):
        seen = []
        rig.break_call("s3.GetObject", lambda _: seen.append(states(table)))
        rig.handle(batch((puts[0], 4), ago=300))
        assert seen == [{"0.jpg": "failed"}]

    @pytest.fixture
    def away(self, rig):
        """A table that is not there yet, for some seconds from the first request on."""
        ends: list[float] = []

        def fault(_):
            ends.append(time.monotonic() + 1.5)
            return answer(400, '{"__type": "x#ResourceNotFoundException"}') if time.monotonic() < ends[0] else None

        for operation in ("BatchGetItem", "PutItem"):
            rig.break_call(f"dynamodb.{operation}", fault)

    @pytest.mark.parametrize("receives", [4, 5])
    def test_though_the_table_is_away_for_a_while(self, rig, table, puts, forbidden, away, receives):
        """Look-up and writes meet a table that is not there; nothing might come back to write it later."""
        event = batch((puts[0], receives), ago=300)
        assert handed_back(rig.handle(event, Countdown(seconds=20))) == ["message-0"]
        assert states(table) == {"0.jpg": "failed"}

    def test_an_answer_that_the_table_refuses_is_tried_again_behind_it(self, rig, table, puts):
        ends: list[float] = []

        def fault(_):
            ends.append(time.monotonic() + 1.5)
            return answer(400, '{"__type": "x#ResourceNotFoundException"}') if time.monotonic() < ends[0] else None

        rig.break_call("dynamodb.PutItem", fault)
        assert handed_back(rig.handle(batch((puts[0], 5), ago=700), Countdown(seconds=20))) == []
        assert states(table)["0.jpg"] in {"classified", "referred"}

    def test_but_no_longer_than_the_invocation_lasts(self, rig, table, puts, forbidden, monkeypatch):
        monkeypatch.setattr("handler.aws.random.uniform", lambda _, longest: longest)  # draws no short waits by chance
        requests = rig.break_call(
            "dynamodb.PutItem", lambda _: answer(400, '{"__type": "x#ResourceNotFoundException"}')
        )
        started = time.monotonic()
        assert handed_back(rig.handle(batch((puts[0], 5), ago=700), Countdown(seconds=5))) == ["message-0"]
        assert 1 < time.monotonic() - started < 5
        assert len(requests) > 3


def test_an_attempt_that_reports_an_error_is_not_counted_and_its_record_says_why(rig, table, puts):
    rig.break_call("s3.GetObject", lambda _: answer(403))
    assert handed_back(rig.handle(batch((puts[0], 3)))) == ["message-0"]
    (record,) = table.everything()
    assert (record["status"], record["reasons"][0]["code"]) == ("failed", "storage_unavailable")
    assert "attempts" not in items()[0]


def test_but_what_another_worker_wrote_meanwhile_stays(rig, table, puts):
    """Such as that it has begun an attempt of its own, which must be counted."""

    def overtake(_):
        (own,) = table.everything()
        table.put({**own, "request_id": "another"}, attempts=2)
        return answer(403)

    rig.break_call("s3.GetObject", overtake)
    assert handed_back(rig.handle(batch((puts[0], 3)))) == ["message-0"]
    (item,) = items()
    assert (item["request_id"], item["attempts"]) == ({"S": "another"}, {"N": "2"})


def test_an_attempt_that_reports_an_error_leaves_an_upload_that_had_a_record_with_one(rig, table, puts):
    gets = [answer(403, "<Error><Code>InvalidObjectState</Code></Error>"), answer(403), None]
    rig.break_call("s3.GetObject", lambda n: gets[n])
    assert handed_back(rig.handle(batch((puts[0], 1)))) == []
    assert states(table) == {"0.jpg": "rejected"}  # archived: it may become readable
    assert handed_back(rig.handle(batch((puts[0], 2)))) == ["message-0"]
    assert states(table) == {"0.jpg": "failed"}
    assert handed_back(rig.handle(batch((puts[0], 3)))) == []
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_an_error_does_not_make_an_earlier_death_forgotten(rig, table, puts, died_on):
    died_on(puts[0], 1)
    rig.break_call("s3.GetObject", lambda n: answer(403) if n == 0 else None)
    assert handed_back(rig.handle(batch((puts[0], 2)))) == ["message-0"]
    (item,) = items()
    assert item["attempts"] == {"N": "1"}


def test_nor_does_the_last_receive(rig, table, puts, died_on):
    """Its message may come once more: as a duplicate, beside others."""
    died_on(puts[0], 1)
    seen = []
    rig.break_call("s3.GetObject", lambda _: seen.extend(items()))
    rig.handle(batch((puts[0], 5)))
    assert seen[0]["attempts"] == {"N": "1"}


def test_without_a_record_that_says_so_nothing_is_tried(make_rig, table, puts, monkeypatch):
    from handler import aws

    monkeypatch.setattr(aws, "PASSING", frozenset())
    rig = make_rig()
    rig.break_call("dynamodb.PutItem", lambda _: answer(403, '{"__type": "x#AccessDeniedException"}'))
    fetches = rig.break_call("s3.GetObject", lambda _: None)
    assert handed_back(rig.handle(batch((puts[0], 2)))) == ["message-0"]
    assert not fetches


# An upload on which a process died, beside a neighbour: (its deaths, the neighbour's receives, whether it is tried).
COMPANY = [(0, 4, True), (0, 5, False), (1, 1, True), (1, 3, True), (1, 4, False), (2, 1, False), (2, 3, False)]


@pytest.mark.parametrize(("deaths", "receives", "tried"), COMPANY)
def test_neighbours_that_could_not_bear_another_death_are_spared_it(
    rig, table, puts, fetched, died_on, deaths, receives, tried
):
    if deaths:
        died_on(puts[0], deaths)
    rig.handle(batch((puts[1], 1)))  # the neighbour is done, and its message only has to be acknowledged
    fetched.clear()
    returned = handed_back(rig.handle(batch((puts[0], 4), (puts[1], receives))))
    assert fetched == (["0.jpg"] if tried else [])
    assert returned == ([] if tried else ["message-0"]), "the neighbour is done in any case"


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_alone_in_its_batch_it_is_tried_while_receives_are_left(rig, table, puts, died_on, deaths):
    died_on(puts[0], deaths)
    assert handed_back(rig.handle(batch((puts[0], 5)))) == []
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_what_is_not_tried_any_more_keeps_a_record_that_says_why(rig, table, puts, died_on):
    died_on(puts[0], 2)
    assert handed_back(rig.handle(batch((puts[0], 5), (puts[1], 1)))) == ["message-0"]
    found = {one["object"]["key"]: one for one in table.everything()}
    assert found["0.jpg"]["status"] == "failed"
    assert found["0.jpg"]["reasons"][0]["code"] == "worker_died"


def test_a_redrive_begins_anew(rig, table, puts, died_on):
    died_on(puts[0], 2)
    event = batch((puts[0], 1), (puts[1], 1), sent=datetime.now(UTC) + timedelta(seconds=5))
    assert handed_back(rig.handle(event)) == []
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_a_duplicate_does_not_hide_that_a_process_died(rig, table, puts, fetched, died_on):
    died_on(puts[0], 2)
    assert handed_back(rig.handle(batch((puts[0], 1), (puts[1], 1)))) == ["message-0"]
    assert fetched == ["1.jpg"]


def test_the_last_of_all_chances_is_taken_though_neighbours_have_none_left_either(rig, table, puts):
    """Every message of the batch is on its last receive: without an attempt all of them would be lost."""
    assert handed_back(rig.handle(batch(*((put, 5) for put in puts)))) == []
    assert set(states(table).values()) <= {"classified", "referred"}


def test_the_number_of_attempts_is_no_part_of_the_record(rig, table, puts, died_on):
    died_on(puts[0], 1)
    (found,) = table.everything()
    assert "attempts" not in found
    rig.handle(batch((puts[0], 2)))
    (item,) = items()
    assert "attempts" not in item, "an answer is as if nothing had happened"


class TestWhatIsDoneIsAcknowledgedBeforeARisk:
    """Lambda acknowledges after the handler has answered; a process that dies answers nothing."""

    @pytest.fixture
    def queue(self, cloud) -> Queue:
        return Queue(boto3.client("sqs"))

    @pytest.fixture
    def seen(self, rig, queue) -> dict[str, set[str]]:
        """By key: the messages that are in the queue when its image is fetched."""
        found: dict[str, set[str]] = {}

        def look(params, **_):
            found[params["Key"]] = queue.keys()

        rig.s3.meta.events.register("before-parameter-build.s3.GetObject", look, unique_id="queue")
        return found

    @BOTH_CLOUDS
    @pytest.mark.parametrize("deaths", [0, 1])
    def test_a_neighbour_on_its_last_receive(self, rig, table, puts, died_on, queue, seen, deaths):
        if deaths:
            died_on(puts[0], deaths)
        rig.handle(batch((puts[1], 1)))
        event = queue.deliver((puts[0], 4), (puts[1], 5))
        assert handed_back(rig.handle(event)) == []
        assert seen["0.jpg"] == {"0.jpg"}, "the neighbour is out of the queue before the risk is taken"
        assert states(table)["0.jpg"] in {"classified", "referred"}

    def test_on_the_last_receive_of_all_of_them(self, rig, table, puts, died_on, queue, seen):
        died_on(puts[3], 1)
        event = queue.deliver(*((put, 5) for put in puts))
        assert handed_back(rig.handle(event)) == []
        assert list(seen) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
        assert seen["3.jpg"] == {"3.jpg"}
        assert set(states(table).values()) <= {"classified", "referred"}

    def test_before_what_is_new_too(self, rig, puts, queue, seen):
        """Any image may be the first to kill its worker."""
        rig.handle(batch((puts[1], 1)))
        assert handed_back(rig.handle(queue.deliver((puts[0], 1), (puts[1], 5)))) == []
        assert seen["0.jpg"] == {"0.jpg"}

    @pytest.mark.parametrize("receives", [4, 5])
    def test_all_of_the_last_two_receives_before_lambda_is_answered(self, rig, puts, queue, receives):
        """A process may die between its last write and its answer, and the next one may find the table away."""
        rig.handle(queue.deliver((puts[0], receives), (puts[1], 1)))
        assert queue.keys() == {"1.jpg"}

    @pytest.mark.parametrize("fault", ["answers with an error", "does not answer"])
    def test_a_queue_that_is_out_is_asked_once(self, make_rig, puts, died_on, queue, fault, monkeypatch):
        from handler.flow import queues

        monkeypatch.setattr(queues, "_SECONDS", 0.2)
        asked = []

        def strike(**_):
            asked.append(fault)
            if fault == "does not answer":
                time.sleep(1)
            return answer(403, '{"__type": "AccessDenied"}')

        boto3.DEFAULT_SESSION.events.register("before-send.sqs.DeleteMessageBatch", strike, unique_id="out")
        rig = make_rig()
        rig.handle(batch((puts[3], 1)))
        event = queue.deliver((puts[0], 4), (puts[1], 4), (puts[3], 5))
        assert handed_back(rig.handle(event)) == ["message-0", "message-1"], "spared, and tried at their next receive"
        assert len(asked) == 1

    def test_not_what_bears_another_death(self, rig, puts, queue, seen):
        rig.handle(batch((puts[1], 1)))
        rig.handle(queue.deliver((puts[0], 2), (puts[1], 2)))
        assert seen["0.jpg"] == {"0.jpg", "1.jpg"}, "a request for each image would be the price"

    def test_not_what_is_to_come_again(self, rig, puts, queue, seen):
        rig.break_call("s3.GetObject", lambda n: answer(403) if n == 0 else None)
        event = queue.deliver((puts[0], 5), (puts[1], 5), (puts[2], 5))
        assert handed_back(rig.handle(event)) == ["message-0"]
        assert seen["2.jpg"] == {"0.jpg", "2.jpg"}

    def test_not_before_all_that_a_message_speaks_of_is_done(self, rig, puts, queue, seen):
        rig.break_call("s3.GetObject", lambda n: answer(403) if n == 1 else None)
        both, last = message(1, notification(puts[1], puts[2]), 5), message(2, notification(puts[3]), 5)
        event = queue.deliver((puts[0], 5), more=[both, last])
        assert handed_back(rig.handle(event)) == ["message-1"]
        assert seen["3.jpg"] == {"1.jpg", "2.jpg", "3.jpg"}

    def test_what_the_queue_does_not_take_is_spared_the_risk(self, rig, table, puts, died_on, queue, seen):
        died_on(puts[0], 1)
        rig.handle(batch((puts[1], 1)))
        event = queue.deliver((puts[0], 4), (puts[1], 5))
        event["Records"][1]["receiptHandle"] = "forged"
        assert handed_back(rig.handle(event)) == ["message-0"]
        assert "0.jpg" not in seen

    def test_on_their_last_receive_all_have_their_second_attempt(self, rig, table, puts, died_on, queue):
        """One of them may be what killed; refusing the first for the sake of the next would lose it for sure."""
        for put in puts[:3]:
            died_on(put, 1)
        assert handed_back(rig.handle(queue.deliver(*((put, 5) for put in puts)))) == []
        assert set(states(table).values()) <= {"classified", "referred"}

    def test_two_deaths_alone_are_its_own(self, rig, puts, died_on, queue, seen):
        died_on(puts[0], 2)
        rig.handle(batch((puts[1], 1)))
        assert handed_back(rig.handle(queue.deliver((puts[0], 4), (puts[1], 5)))) == ["message-0"]
        assert "0.jpg" not in seen


class Queue:
    """A queue whose messages can be looked at while they are being worked on."""

    def __init__(self, client) -> None:
        self._client = client
        self._url = client.create_queue(QueueName="live")["QueueUrl"]
        wanted = client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        self._arn = wanted["Attributes"]["QueueArn"]

    def deliver(self, *deliveries: tuple[Put, int], more: Sequence[dict] = (), hide: int = 0) -> dict:
        """`batch(*deliveries)` and `more` records, as the queue hands them out and hides them for `hide` seconds."""
        event = batch(*deliveries)
        event["Records"] += more
        for one in event["Records"]:
            self._client.send_message(QueueUrl=self._url, MessageBody=one["body"])
        handles = {held["Body"]: held["ReceiptHandle"] for held in self._held(hide)}
        for one in event["Records"]:
            one |= {"receiptHandle": handles[one["body"]], "eventSourceARN": self._arn}
        return event

    def keys(self) -> set[str]:
        """Of the objects that messages in the queue speak of."""
        messages = (read_event(json.loads(held["Body"])).messages[0] for held in self._held())
        return {upload.key for one in messages for upload in one.uploads}

    def _held(self, hide: int = 0) -> list[dict]:
        answer = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, VisibilityTimeout=hide)
        return answer.get("Messages", [])


class TestWhatIsHandedBackIsShownAgainSoon:
    @pytest.fixture
    def queue(self, cloud) -> Queue:
        return Queue(boto3.client("sqs"))

    @pytest.fixture
    def waits(self, cloud) -> dict[str, int]:
        """By receipt: the seconds that the worker asked its message to be hidden for."""
        found: dict[str, int] = {}

        def look(params, **_):
            found.update({entry["ReceiptHandle"]: entry["VisibilityTimeout"] for entry in params["Entries"]})

        boto3.DEFAULT_SESSION.events.register(
            "provide-client-params.sqs.ChangeMessageVisibilityBatch", look, unique_id="waits"
        )
        return found

    def test_within_seconds_at_first_and_minutes_later(self, make_rig, puts, queue, waits):
        rig = make_rig(MAX_RECEIVES=9)
        rig.break_call("s3.GetObject", lambda _: answer(403, "<Error><Code>AccessDenied</Code></Error>"))
        event = queue.deliver((puts[0], 1), (puts[1], 2), (puts[2], 3), (puts[3], 6))
        assert len(handed_back(rig.handle(event))) == 4
        handles = [record["receiptHandle"] for record in event["Records"]]
        assert [waits[handle] for handle in handles] == [12, 48, 195, 390]

    def test_in_the_queue_itself(self, make_rig, puts, queue):
        """Of a queue whose visibility timeout is a minute the message comes back in a second, and not before."""
        rig = make_rig(VISIBILITY_TIMEOUT=64)
        rig.break_call("s3.GetObject", lambda _: answer(403, "<Error><Code>AccessDenied</Code></Error>"))
        event = queue.deliver((puts[0], 1), hide=60)
        assert handed_back(rig.handle(event)) == ["message-0"]
        assert queue.keys() == set()
        time.sleep(1.2)
        assert queue.keys() == {"0.jpg"}

    def test_also_what_nobody_understands_and_not_what_is_done(self, rig, puts, queue, waits):
        event = queue.deliver((puts[0], 1), more=[message(1, "no event", 1)])
        assert handed_back(rig.handle(event)) == ["message-1"]
        assert list(waits) == [event["Records"][1]["receiptHandle"]]

    def test_ten_in_a_request(self, rig, bucket, queue, waits):
        puts = [Put(f"{n}.jpg", "a" * 32, bucket="not-ours") for n in range(10)]
        events = [queue.deliver(*((put, 1) for put in puts)) for _ in range(1)]
        more = [{**one, "messageId": f"again-{n}"} for n, one in enumerate(events[0]["Records"] * 2)]
        assert len(handed_back(rig.handle({"Records": events[0]["Records"] + more}))) == 30
        assert len(waits) == 10

    def test_a_queue_that_refuses_changes_no_answer(self, rig, puts, queue):
        def refuse(**_):
            return answer(403, '{"__type": "AccessDenied"}')

        boto3.DEFAULT_SESSION.events.register(
            "before-send.sqs.ChangeMessageVisibilityBatch", refuse, unique_id="refuse"
        )
        rig.break_call("s3.GetObject", lambda n: answer(403) if n == 0 else None)
        assert len(handed_back(rig.handle(queue.deliver((puts[0], 1), (puts[1], 1))))) == 1


class TestABacklogOfWhatWasHandedBack:
    """After an outage all messages come back at once, each to any of the workers."""

    UPLOADS, BATCH = 60, 20  # tests/faults does it with 500, and with processes

    def test_is_done_at_full_width_by_several_workers(self, make_rig, bucket, table):
        puts = [bucket.put(f"{n}.jpg", jpeg(n % 8)) for n in range(self.UPLOADS)]
        crew = [make_rig(DOWNLOAD_THREADS=8) for _ in range(3)]
        out, writes, at_once, under_way = [True], [], [0], [0]
        for rig in crew:
            rig.break_call("s3.GetObject", lambda _: answer(403) if out[0] else None)
            rig.break_call("dynamodb.PutItem", writes.append)
        for number, start in enumerate(range(0, self.UPLOADS, self.BATCH)):
            event = batch(*((put, 1) for put in puts[start : start + self.BATCH]))
            assert len(handed_back(crew[number % 3].handle(event))) == self.BATCH
        out[0] = False
        assert not writes

        def count(step):
            def counted(**_):
                under_way[0] += step
                at_once[0] = max(at_once[0], under_way[0])

            return counted

        for rig in crew:
            rig.s3.meta.events.register("before-call.s3.GetObject", count(1))
            rig.s3.meta.events.register("after-call.s3.GetObject", count(-1))
        random.Random(0).shuffle(puts)
        for number, start in enumerate(range(0, self.UPLOADS, self.BATCH)):
            event = batch(*((put, 2) for put in puts[start : start + self.BATCH]), ago=60)
            assert handed_back(crew[number % 3].handle(event)) == []
        assert len(writes) == self.UPLOADS, "one for each, and none that says that it was begun"
        assert at_once[0] > 1, "beside each other, not one after the other"
        assert set(states(table).values()) <= {"classified", "referred"}
