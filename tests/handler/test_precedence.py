"""Which record of an upload is current where several models have answered, and that queries give only that one."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from questions import latest_problems, most_confident
from s3_events import queue_event
from sample_images import jpeg
from sample_records import TODAY, UPLOAD, a_record
from worker_rig import BOTH_CLOUDS, TABLE, answer

from handler.store import queries, record
from handler.store.precedence import PARTITION, Precedence, enter, prefer
from handler.store.queries import Question, entries
from handler.store.record import BY_LABEL, BY_PROBLEM
from handler.store.table import item_key

pytestmark = pytest.mark.usefixtures("_one_shard")

MORNING = datetime(2026, 11, 23, 9, tzinfo=UTC)
WEEK = [TODAY + timedelta(days=n) for n in range(7)]


@pytest.fixture
def _one_shard(monkeypatch):
    monkeypatch.setattr(record, "SHARDS", 1)  # a question takes a request for each


@pytest.fixture
def models(table):
    """Two models, of which "b" came later; its name sorts before, so that nothing but the time decides."""
    client = boto3.client("dynamodb")
    enter(client, TABLE, "later-by-name")
    enter(client, TABLE, "b")
    return "later-by-name", "b"


def under(model: str, status: str = "referred", days: int = 0, **changes):
    version = f"{UPLOAD.version}#{model}"
    return a_record(status, at=MORNING + timedelta(days=days), version=version, **changes)


def found(table) -> dict[str, list[str]]:
    """The versions that each question of the week gives."""
    client = boto3.client("dynamodb")
    asked = {label: most_confident(client, TABLE, label, WEEK) for label in ("mel", "nv")}
    asked |= {
        status: latest_problems(client, TABLE, status, WEEK)
        for status in ("referred", "rejected", "failed", "superseded")
    }
    return {subject: [one["version"].rpartition("#")[2] for one in given] for subject, given in asked.items() if given}


@BOTH_CLOUDS
def test_an_image_that_was_scored_again_is_given_once(table, models):
    old, new = models
    table.put(under(old))
    table.put(under(new, label="nv", days=2))
    table.put(under(old, key="not-yet.jpg"))
    assert found(table) == {"mel": [old], "nv": [new], "referred": [new, old]}
    client = boto3.client("dynamodb")
    assert [one["image"] for one in most_confident(client, TABLE, "mel", WEEK)] == ["dermbatch-images/not-yet.jpg"]
    given = Question(WEEK).page(client, TABLE, ["mel", "nv"], 10)[0]
    assert len(given) == 2


def test_the_order_in_which_records_are_written_and_predicted_changes_nothing(table, models):
    old, new = models
    table.put(under(new, label="nv"))
    table.put(under(old, days=3))  # a late delivery to a worker of the former version
    assert found(table) == {"nv": [new], "referred": [new]}


def test_whoever_goes_back_to_a_former_model_gets_its_answers_back(table, models):
    old, new = models
    table.put(under(old))
    table.put(under(new, label="nv", days=2))
    prefer(boto3.client("dynamodb"), TABLE, old)
    assert found(table) == {"mel": [old], "referred": [old]}
    enter(boto3.client("dynamodb"), TABLE, new)  # its workers may still start
    assert found(table) == {"mel": [old], "referred": [old]}
    assert Precedence.read(boto3.client("dynamodb"), TABLE).models == [old, new]


@pytest.mark.parametrize("provisional", ["failed", "superseded"])
def test_an_answer_is_not_hidden_by_what_gives_way_to_answers(table, models, provisional):
    old, new = models
    table.put(under(old))
    table.put(under(new, provisional, days=2))
    assert found(table) == {"mel": [old], "referred": [old]}
    table.put(under(new, "rejected", days=3))
    assert found(table) == {"rejected": [new]}


def test_of_two_failures_the_one_under_the_later_model_is_given(table, models):
    old, new = models
    table.put(under(old, "failed"))
    table.put(under(new, "failed", days=2))
    assert found(table) == {"failed": [new]}


def test_records_from_before_there_was_a_list_come_after_those_of_listed_models(table):
    table.put(under("ancient"))
    assert found(table) == {"mel": ["ancient"], "referred": ["ancient"]}
    enter(boto3.client("dynamodb"), TABLE, "1")
    assert found(table) == {"mel": ["ancient"], "referred": ["ancient"]}
    table.put(under("1", label="nv", days=2))
    assert found(table) == {"nv": ["1"], "referred": ["1"]}


def test_versions_of_one_object_are_uploads_of_their_own(table, models):
    old, new = models
    table.put({**under(old), "version": f"first#{old}"})
    table.put({**under(old), "version": f"second#{old}"})
    table.put({**under(new, days=1), "version": f"second#{new}"})
    assert sorted(found(table)["mel"]) == sorted(models)


@pytest.mark.parametrize("later", ["1", "2"])
def test_exactly_one_record_of_an_upload_is_current_whatever_the_models_answered(table, later):
    """All questions together give what the history calls current: never two, never none."""
    client = boto3.client("dynamodb")
    for model in ("1", "2"):
        enter(client, TABLE, model)
    prefer(client, TABLE, later)
    precedence = Precedence.read(client, TABLE)
    for first, second in itertools.product(("failed", "superseded", "rejected", "referred"), repeat=2):
        key = f"{first}-{second}.jpg"
        table.put(under("1", first, key=key))
        table.put(under("2", second, key=key))
        history = list(table.history(f"dermbatch-images/{key}"))
        (current,) = precedence.current(history)
        given = precedence.current_keys(client, TABLE, history)
        assert given == {(current["image"], current["version"])}
        assert precedence.latest_first(history)[0] == current


def test_pages_lead_over_what_is_not_current(table, models):
    old, new = models
    for number in range(12):
        table.put(under(old, key=f"{number}.jpg"))
        if number % 3:
            table.put(under(new, key=f"{number}.jpg", days=1))
    client, given, cursor = boto3.client("dynamodb"), [], None
    question = Question(WEEK, status="referred")
    while True:
        page, cursor = question.page(client, TABLE, ["mel"], 5, cursor)
        given += [one["image"] for one in page]
        if cursor is None:
            break
    assert len(given) == len(set(given)) == 12
    every = list(entries(client, TABLE, BY_PROBLEM, ["referred"], WEEK, every_model=True))
    assert len(every) == 20
    assert len(list(entries(client, TABLE, BY_LABEL, ["mel"], WEEK))) == 12


def test_a_page_reads_no_more_than_its_bound_where_nothing_is_current(table, models, monkeypatch):
    """A day whose images have all been scored again since."""
    monkeypatch.setattr(queries, "MOST_READ", 3)
    old, new = models
    for number in range(5):
        table.put(under(old, key=f"{number}.jpg"))
        table.put(under(new, key=f"{number}.jpg", days=1))
    client, question = boto3.client("dynamodb"), Question([TODAY], status="referred")
    page, cursor = question.page(client, TABLE, ["mel"], 5)
    assert page == []
    assert cursor
    assert question.page(client, TABLE, ["mel"], 5, cursor) == ([], None)


def test_answers_of_the_first_model_cost_no_look_up(table, models, monkeypatch):
    _, new = models
    table.put(under(new))
    client = boto3.client("dynamodb")
    monkeypatch.setattr(client, "batch_get_item", None)
    assert len(most_confident(client, TABLE, "mel", WEEK)) == 1


def forget(rig) -> None:
    """The list of models as it is before the worker's first batch."""
    version = rig.classifier.bundle.version
    boto3.client("dynamodb").delete_item(TableName=TABLE, Key=item_key(PARTITION, version))
    rig.worker._entered = False


def test_a_worker_enters_its_model_before_its_first_record(rig, bucket):
    forget(rig)
    client, seen = boto3.client("dynamodb"), []
    rig.break_call("s3.GetObject", lambda _: seen.append(Precedence.read(client, TABLE).models))
    rig.handle(queue_event(bucket.put("a.jpg", jpeg(1))))
    assert seen == [[rig.classifier.bundle.version]]


def test_a_table_that_does_not_take_the_entry_now_gets_it_with_the_next_batch(rig, bucket):
    forget(rig)
    client = boto3.client("dynamodb")
    rig.break_call("dynamodb.PutItem", lambda n: answer(400, '{"__type": "x#AccessDenied"}') if n == 0 else None)
    assert rig.handle(queue_event(bucket.put("a.jpg", jpeg(1)))) == {"batchItemFailures": []}
    assert Precedence.read(client, TABLE).models == []
    rig.handle(queue_event(bucket.put("b.jpg", jpeg(2))))
    assert Precedence.read(client, TABLE).models == [rig.classifier.bundle.version]
