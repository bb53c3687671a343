"""The function on a schedule: an upload whose notification was lost is found, whatever the bucket's size."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from worker_rig import answer, break_client, counted

from handler import reconciler as module
from handler import telemetry
from handler.configuration import ReconcilerSettings, Settings
from handler.errors import ConfigurationError, TryAgainError
from handler.housekeeper import Housekeeper
from handler.intake.events import read_event
from handler.intake.messages import Upload
from handler.reconciler import LAST_SECONDS, Reconciler, Run
from handler.store import objects
from handler.store.objects import Current, Place
from handler.store.precedence import enter
from handler.store.record import Finding, build_record
from handler.store.table import PredictionsTable
from handler.store.unrecorded import MOST_SENT, Bookmark, Comparison
from handler.worker import Worker
from infra.worker_loop import function_environment, keep_house, run_worker
from model_layer import Rejection, RejectionCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from infra.stack import Stack

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
PLENTY = lambda: 900.0  # noqa: E731
BLANK = Rejection(RejectionCode.BLANK)


class Clinic:
    """A stack whose uploads need no time on their way, and the reconciler over it."""

    def __init__(self, stack: Stack, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.stack = stack
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        self.s3, self.sqs, self.dynamodb = (stack.endpoint.client(name) for name in ("s3", "sqs", "dynamodb"))
        self.bookmark = Bookmark(self.dynamodb, stack.table)
        self.reconciler = Reconciler.start(ReconcilerSettings.from_environment())
        # A message of the live lane may be tried for as long as this, times the receives.
        self.sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes={"VisibilityTimeout": "0"})

    def upload(self, key: str, **given: str) -> Upload:
        put = self.s3.put_object(Bucket=self.stack.bucket, Key=key, Body=b"image", **given)
        return Upload(self.stack.bucket, key, put["VersionId"], put["ETag"].strip('"'), None)

    def lose(self) -> None:
        """Every notification up to now."""
        self.sqs.purge_queue(QueueUrl=self.stack.queue_url)

    def record(self, upload: Upload, result: object = BLANK, model: str = "1", *, shadow: bool = False) -> None:
        bundle: Any = SimpleNamespace(name="m", version=model, digest="sha256:0")
        table = PredictionsTable(self.dynamodb, self.stack.table, shadow=shadow)
        assert table.put(build_record(Finding(upload, result), bundle, "request", NOW))

    def sent(self) -> list[Upload]:
        """Takes what is in the bulk lane."""
        found: list[Upload] = []
        asked = {"QueueUrl": self.stack.lanes["Bulk"].queue_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
        while got := self.sqs.receive_message(**asked).get("Messages"):
            for body in got:
                found += [upload for one in read_event(json.loads(body["Body"])).messages for upload in one.uploads]
                self.sqs.delete_message(QueueUrl=asked["QueueUrl"], ReceiptHandle=body["ReceiptHandle"])
        return found


@pytest.fixture
def make_clinic(
    fresh_stack: Callable[..., Stack], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Clinic]:
    def make(**parameters: str) -> Clinic:
        stack = fresh_stack(**parameters)
        environment = function_environment(stack, {}) | {"MODEL_BUNDLE": str(tiny_bundle)}
        lanes = {"LIVE_QUEUE_URL": stack.queue_url, "BULK_QUEUE_URL": stack.lanes["Bulk"].queue_url}
        return Clinic(stack, environment | lanes, monkeypatch)

    return make


@pytest.fixture
def clinic(make_clinic: Callable[..., Clinic]) -> Clinic:
    return make_clinic()


def _ids(uploads: list[Upload]) -> list[tuple[str, str | None]]:
    return sorted((upload.key, upload.version) for upload in uploads)


def test_what_was_lost_is_sent_and_nothing_else(clinic):
    clinic.record(clinic.upload("done.jpg"), model="of last year")
    clinic.record(clinic.upload("dead.jpg"), TryAgainError("out_of_time", "."))
    clinic.record(clinic.upload("again.jpg"))
    lost = [clinic.upload("again.jpg"), clinic.upload("clinic/é 1.jpg"), clinic.upload("shadowed.jpg")]
    clinic.record(lost[-1], shadow=True)  # EventBridge told of it, and only a candidate has looked
    clinic.upload("archived.jpg", StorageClass="GLACIER")
    clinic.upload("holiday/Thumbs.db")
    clinic.upload("deleted.jpg")
    clinic.s3.delete_object(Bucket=clinic.stack.bucket, Key="deleted.jpg")
    clinic.lose()
    found = clinic.reconciler.run(PLENTY)
    assert found == Run(compared=7, unrecorded=3, sent=3, ended="whole")
    assert _ids(clinic.sent()) == _ids(lost)


def test_what_a_known_model_has_answered_is_looked_up_by_the_hundred(clinic):
    """A bucket of millions: only what has no record there takes a request of its own."""
    for number in range(30):
        clinic.record(clinic.upload(f"done {number}.jpg"), model="2" if number % 3 else "1")
    clinic.record(clinic.upload("by an unknown model.jpg"), model="0")
    lost = [clinic.upload("lost.jpg"), clinic.upload("shadowed.jpg")]
    clinic.record(lost[1], model="2", shadow=True)
    clinic.lose()
    for model in ("1", "2"):
        enter(clinic.dynamodb, clinic.stack.table, model)
    client = clinic.reconciler._table._client
    queries, batches = (break_client(client, f"dynamodb.{call}", lambda _: None) for call in ("Query", "BatchGetItem"))
    assert clinic.reconciler.run(PLENTY) == Run(compared=33, unrecorded=2, sent=2)
    assert _ids(clinic.sent()) == _ids(lost)
    assert len(batches) == 2
    assert len(queries) == 1 + 3, "the list of models, and what they have not answered"


def test_an_upload_that_may_still_be_on_its_way_is_left_alone(clinic):
    clinic.sqs.set_queue_attributes(QueueUrl=clinic.stack.queue_url, Attributes={"VisibilityTimeout": "780"})
    clinic.upload("new.jpg")
    clinic.lose()
    assert clinic.reconciler.run(PLENTY) == Run(compared=1)
    assert clinic.sent() == []


def test_it_gets_its_record_and_is_then_left_alone(clinic):
    lost = clinic.upload("lost.jpg")
    clinic.lose()
    clinic.reconciler.run(PLENTY)
    clinic.reconciler.run(PLENTY)  # again, before a worker has seen the first message
    worker = Worker.start(Settings.from_environment())
    run_worker(clinic.stack, worker.handle, lane=clinic.stack.lanes["Bulk"], retry_after=0)
    (record,) = PredictionsTable(clinic.dynamodb, clinic.stack.table).everything()
    assert (record["object"]["key"], record["object"]["version"]) == (lost.key, lost.version)
    assert record["status"] == "rejected"
    assert clinic.reconciler.run(PLENTY) == Run(compared=1)
    assert clinic.sent() == []


def test_an_image_that_is_erased_before_its_turn_leaves_no_record(clinic):
    clinic.upload("withdrawn.jpg")
    clinic.lose()
    clinic.reconciler.run(PLENTY)
    worker, keeper = Worker.start(Settings.from_environment()), Housekeeper.start(Settings.from_environment())
    removals = clinic.stack.housekeeper.lanes["Removals"]
    clinic.s3.delete_object(Bucket=clinic.stack.bucket, Key="withdrawn.jpg")
    run_worker(clinic.stack.housekeeper, keeper.handle, lane=removals, retry_after=0)  # marked: nothing to erase yet
    run_worker(clinic.stack, worker.handle, lane=clinic.stack.lanes["Bulk"], retry_after=0)
    keep_house(clinic.stack, keeper.handle, retry_after=0)
    assert list(PredictionsTable(clinic.dynamodb, clinic.stack.table).everything()) == []
    assert clinic.reconciler.run(PLENTY).unrecorded == 0


@pytest.fixture
def seven(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> list[Upload]:
    """Lost uploads on four pages, one of them in two versions of which the older has a record."""
    monkeypatch.setattr(objects, "PAGE", 2)
    clinic.record(clinic.upload("3.jpg"))
    lost = [clinic.upload(f"{number}.jpg") for number in range(7)]
    clinic.lose()
    return lost


def test_it_goes_on_where_its_time_was_over(clinic, seven):
    runs, sent = [], []
    while not runs or runs[-1].ended != "whole":
        assert len(runs) < 9
        runs.append(clinic.reconciler.run(lambda: LAST_SECONDS - 1))
        sent += clinic.sent()
    assert len(runs) == 4
    assert {run.ended for run in runs[:-1]} == {"time"}
    assert _ids(sent) == _ids(seven), "each once"
    assert clinic.bookmark.read() == Place()
    assert clinic.reconciler.run(PLENTY).unrecorded == 7, "the next round begins at the beginning"


def test_a_run_sends_no_more_than_its_limit_and_the_next_one_goes_on(clinic, seven, monkeypatch):
    monkeypatch.setattr(module, "MOST_SENT", 3)
    sent: list[Upload] = []
    for _ in range(9):
        run = clinic.reconciler.run(PLENTY)
        taken = clinic.sent()
        assert len(taken) == run.sent <= 3
        for upload in set(taken) - set(sent):
            clinic.record(upload, model="2")  # as the worker would
        sent += taken
        if run.ended == "whole":
            break
        assert run.ended == "limit"
    assert {(upload.key, upload.version) for upload in sent} == set(_ids(seven))


def test_nothing_is_sent_while_the_bulk_lane_is_full(clinic, seven, monkeypatch):
    monkeypatch.setattr(module, "MOST_SENT", 8)
    queue = clinic.stack.lanes["Bulk"].queue_url
    for _ in range(9):
        clinic.sqs.send_message(QueueUrl=queue, MessageBody="an upload waits")
    assert clinic.reconciler.run(PLENTY) == Run(ended="busy")
    clinic.sqs.purge_queue(QueueUrl=queue)
    assert clinic.reconciler.run(PLENTY).sent == 7


def test_two_at_the_same_time_miss_nothing(clinic, seven):
    together = threading.Barrier(2)

    def run(_: int) -> list[str]:
        together.wait()
        ended = []
        while not ended or ended[-1] != "whole":
            ended.append(clinic.reconciler.run(lambda: LAST_SECONDS - 1).ended)
            assert len(ended) < 20
        return ended

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    assert {(upload.key, upload.version) for upload in clinic.sent()} == set(_ids(seven))


@pytest.mark.parametrize(
    "call",
    [
        "s3.ListObjectVersions",
        "dynamodb.GetItem",
        "dynamodb.BatchGetItem",
        "dynamodb.Query",
        "dynamodb.PutItem",
        "sqs.GetQueueAttributes",
    ],
)
def test_a_failure_names_no_key_and_the_next_try_goes_on(clinic, seven, call):
    enter(clinic.dynamodb, clinic.stack.table, "1")
    client = {"s3": clinic.reconciler._s3, "dynamodb": clinic.reconciler._table._client, "sqs": clinic.reconciler._sqs}
    numbers, operation = itertools.count(), call.partition(".")[2]
    denied = answer(400, '{"__type": "x#AccessDeniedException", "message": "3.jpg"}')
    client = client[call.partition(".")[0]]
    later = 1 if operation in {"ListObjectVersions", "PutItem"} else 0  # in the middle of its way

    broken = break_client(client, call, lambda _: denied if next(numbers) == later else None)
    with pytest.raises(TryAgainError, match=f"^{operation} failed with ") as raised:
        clinic.reconciler.run(PLENTY)
    assert len(broken) > later
    assert "3.jpg" not in "".join(traceback.format_exception(raised.value)), "Lambda logs it"
    sent = clinic.sent()
    assert clinic.reconciler.run(PLENTY).ended == "whole"
    assert {(upload.key, upload.version) for upload in sent + clinic.sent()} == set(_ids(seven))


def test_a_record_that_has_expired_does_not_come_back(clinic):
    """With RecordTtlDays, an object that is older than its record may live has none, and shall have none."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    found = {
        age: Current(f"{age}.jpg", None, "0" * 32, 9, now - timedelta(days=age, minutes=1)) for age in (0, 29, 30, 400)
    }
    table = PredictionsTable(clinic.dynamodb, clinic.stack.table)

    def missing(ttl_days: int) -> set[int]:
        comparison = Comparison.of(now, timedelta(hours=1), ttl_days)
        return {age for age, one in found.items() if one in comparison.missing(list(found.values()), "b", table)}

    assert missing(30) == {29}
    assert missing(0) == {29, 30, 400}


def test_the_stacks_retention_reaches_the_comparison(make_clinic, monkeypatch):
    clinic, asked = make_clinic(RecordTtlDays="30", IgnoreSystemFiles="false"), []
    original = Comparison.of
    monkeypatch.setattr(module.Comparison, "of", lambda *given: asked.append(given) or original(*given))
    clinic.upload("holiday/Thumbs.db")
    clinic.lose()
    assert clinic.reconciler.run(PLENTY).sent == 1, "this stack records them too"
    ((_, grace, ttl_days, models),) = asked
    assert (grace, ttl_days, models) == (timedelta(0), 30, [])


def test_the_entry_point_says_how_many_and_names_none(clinic, capsys, log):
    clinic.upload("Jane-Doe.jpg")
    clinic.lose()
    sys.modules.pop("handler.reconciling", None)
    entry = importlib.import_module("handler.reconciling")
    sys.modules.pop("handler.reconciling")
    context = SimpleNamespace(
        aws_request_id="r", get_remaining_time_in_millis=lambda: 900_000, function_name="f", invoked_function_arn="a",
        memory_limit_in_mb=1769,
    )  # fmt: skip
    telemetry.metrics.clear_metrics()
    event = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
    told = entry.lambda_handler(event, context)
    assert told == {"compared": 1, "unrecorded": 1, "sent": 1, "ended": "whole"}
    assert counted(capsys) == {"Unrecorded": [1.0]}
    (said,) = log()
    assert "Jane-Doe" not in json.dumps(said)
    assert (said["level"], said["objects"], said["unrecorded"]) == ("WARNING", 1, 1)
    clinic.record(clinic.sent()[0])
    entry.lambda_handler(event, context)
    assert counted(capsys) == {"Unrecorded": [0.0]}, "it says that it has run"


@pytest.mark.parametrize("name", ["UPLOADS_BUCKET", "LIVE_QUEUE_URL", "BULK_QUEUE_URL", "PREDICTIONS_TABLE"])
def test_a_missing_setting_ends_the_start_in_one_sentence(name):
    given = {
        "PREDICTIONS_TABLE": "table", "UPLOADS_BUCKET": "bucket", "LIVE_QUEUE_URL": "https://sqs/1",
        "BULK_QUEUE_URL": "https://sqs/2",
    }  # fmt: skip
    assert ReconcilerSettings.from_environment(given).record_ttl_days == 0
    with pytest.raises(ConfigurationError, match=f"^{name} is not set"):
        ReconcilerSettings.from_environment(given | {name: ""})


def test_the_command_has_the_same_limit():
    import inspect

    from cli.app import reconcile

    assert inspect.signature(reconcile).parameters["limit"].default == MOST_SENT
