"""A candidate model in the shadow lane: it leaves records for comparison, and nobody meets them otherwise."""

from __future__ import annotations

import boto3
import pytest
from questions import latest_problems, most_confident
from s3_events import BUCKET, queue_event
from sample_images import jpeg
from sample_records import TODAY, UPLOAD, a_record
from worker_rig import BOTH_CLOUDS, TABLE, items, states

from handler.flow.fetching import BucketReader
from handler.pseudonyms import Pseudonyms
from handler.store import record
from handler.store.erasure import Erasure
from handler.store.precedence import Precedence, enter
from handler.store.record import INDEX_KEYS
from handler.store.table import PredictionsTable

KEY = ("dermbatch-images/a.jpg", f"{UPLOAD.version}#candidate")


@pytest.fixture
def shadow(table, monkeypatch) -> PredictionsTable:
    """The same table, as the shadow lane writes it."""
    monkeypatch.setattr(record, "SHARDS", 1)  # a question takes a request for each
    return PredictionsTable(boto3.client("dynamodb"), TABLE, shadow=True)


def of_candidate(status: str = "referred", **changes):
    return a_record(status, version=KEY[1], **changes)


@BOTH_CLOUDS
@pytest.mark.parametrize("status", ["referred", "rejected", "failed"])
def test_its_records_are_in_no_list_and_hide_no_other(table, shadow, status):
    client = boto3.client("dynamodb")
    enter(client, TABLE, "1.0.0")
    enter(client, TABLE, "candidate")  # as if it had been live once
    table.put(a_record(label="nv"))
    assert shadow.put(of_candidate(status))
    assert [one["version"] for one in most_confident(client, TABLE, "nv", [TODAY])] == [f"{UPLOAD.version}#1.0.0"]
    assert most_confident(client, TABLE, "mel", [TODAY]) == []
    assert len(latest_problems(client, TABLE, "referred", [TODAY])) == 1
    for problem in ("rejected", "failed"):
        assert latest_problems(client, TABLE, problem, [TODAY]) == []
    for seen in (table.history(KEY[0]), table.everything()):
        assert [one["version"] for one in seen] == [f"{UPLOAD.version}#1.0.0"]
    assert table.get(*KEY)["status"] == status, "it is there for whoever asks for it by its key"


@BOTH_CLOUDS
def test_a_live_record_of_the_same_model_takes_its_place_and_is_never_replaced_by_it(table, shadow):
    assert shadow.put(of_candidate(request_id="shadow"))
    assert table.states([KEY]) == {}
    assert shadow.states([KEY])[KEY].final, "a repeated delivery costs no second inference"
    assert not shadow.put(of_candidate("failed"))
    assert table.put(of_candidate("failed", request_id="announced"))
    assert not shadow.put(of_candidate(request_id="too late")), "its upload would vanish from every list"
    assert table.put(of_candidate(request_id="live"))
    for status in ("failed", "superseded", "rejected", "referred"):
        assert not shadow.put(of_candidate(status, request_id="late"))
    assert table.get(*KEY)["request_id"] == "live"
    assert len(most_confident(boto3.client("dynamodb"), TABLE, "mel", [TODAY])) == 1


def test_in_the_shadow_lane_too_an_answer_replaces_a_failure(table, shadow):
    assert shadow.put(of_candidate("failed"))
    assert shadow.put(of_candidate("rejected"))
    assert table.get(*KEY)["status"] == "rejected"


def test_a_live_record_of_unknown_attempts_is_not_kept_out(table, shadow):
    shadow.put(of_candidate())
    assert table.put(of_candidate("failed"), attempts=None)
    assert not table.put(of_candidate("failed"), attempts=None)


def test_a_worker_in_the_shadow_leaves_a_record_beside_the_live_one_and_enters_no_list(make_rig, table, bucket):
    put = bucket.put("a.jpg", jpeg(1))
    candidate = make_rig(SHADOW="true")
    client = boto3.client("dynamodb")
    assert candidate.handle(queue_event(put)) == {"batchItemFailures": []}
    assert Precedence.read(client, TABLE).models == []
    (item,) = items()
    assert item["shadow"] == {"BOOL": True}
    assert not INDEX_KEYS & set(item)
    assert states(table) == {}

    reads = candidate.break_call("s3.GetObject", lambda _: None)
    candidate.handle(queue_event(put))
    assert reads == [], "a repeated event is not worked on again"

    live = make_rig()  # the candidate was taken over: the same version, and now it counts
    live.handle(queue_event(put))
    assert set(states(table)) == {"a.jpg"}
    (item,) = items()
    assert "shadow" not in item
    assert Precedence.read(client, TABLE).models == [live.classifier.bundle.version]


def test_an_erased_image_loses_the_candidates_record_too(make_rig, bucket):
    rig = make_rig(SHADOW="true")
    rig.handle(queue_event(bucket.put("a.jpg", jpeg(1))))
    client = boto3.client("dynamodb")
    erasure = Erasure(client, TABLE, BucketReader(bucket.client, 10**6).remaining, Pseudonyms(b""))
    assert erasure.remove_image(bucket.client, BUCKET, "a.jpg") == (1, 1)
    assert [item for item in items() if "status" in item] == []
