"""What a batch of uploads leaves behind: in the table, and in the queue."""

from __future__ import annotations

import hashlib
import json
import resource
import struct
import zlib

import pytest
from s3_events import Put, handed_back, notification, queue_event, record
from sample_images import encoded, jpeg, picture
from tiny_bundle import write_tiny_bundle
from worker_rig import BOTH_CLOUDS, Context, answer, items, states

from handler.errors import TryAgainError

pytestmark = BOTH_CLOUDS


def test_every_record_of_an_event_is_handled(rig, bucket, table):
    puts = [bucket.put(f"clinic/{n}.jpg", jpeg(n)) for n in range(23)]
    event = queue_event(notification(*puts[:12]), notification(*puts[12:20]), *puts[20:])
    assert handed_back(rig.handle(event)) == []
    assert set(states(table)) == {put.key for put in puts}


def test_a_prediction_is_recorded_as_the_classifier_gives_it(rig, bucket, table):
    data = jpeg(4, (320, 200))
    put = bucket.put("a+b%20c.jpg", data)
    rig.handle(queue_event(put))

    (found,) = table.everything()
    (expected,) = rig.classifier.classify([data])
    assert found["image"] == put.image
    assert found["version"] == f"{put.version}#{rig.classifier.bundle.version}"
    assert found["status"] == expected.status
    assert found["probabilities"] == expected.probabilities
    assert found["prediction_set"] == list(expected.prediction_set)
    assert found["heatmap"]["values"] == list(expected.heatmap.values)
    assert found["model"]["digest"] == rig.classifier.bundle.digest
    assert found["object"] == {
        "bucket": "dermbatch-images",
        "key": "a+b%20c.jpg",
        "version": put.version,
        "etag": put.etag,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": "jpeg",
        "width": 320,
        "height": 200,
    }
    assert set(found["timings_ms"]) == {"fetch", "decode", "infer"}
    assert found["uploaded_at"] == "2026-11-23T09:30:00.125Z"
    assert json.loads(json.dumps(found)) == found


def test_each_state_occurs(make_rig, bucket, table, tmp_path):
    sure = make_rig(MODEL_BUNDLE=write_tiny_bundle(tmp_path / "sure", confidence=0))
    unsure = make_rig(MODEL_BUNDLE=write_tiny_bundle(tmp_path / "unsure", confidence=1), MAX_RECEIVES=3)

    sure.handle(queue_event(bucket.put("classified", jpeg(1))))
    unsure.handle(queue_event(bucket.put("referred", jpeg(1))))
    sure.handle(queue_event(bucket.put("rejected", b"a letter, not a picture")))
    sure.handle(queue_event(Put("superseded", "a" * 32, "00000000-0000-0000-0000-000000000000")))
    unsure.break_call("s3.GetObject", lambda _: answer(503))
    unsure.handle(queue_event(bucket.put("failed", jpeg(2)), receives=3))

    found = {found["object"]["key"]: found for found in table.everything()}
    assert {key: record["status"] for key, record in found.items()} == {key: key for key in found}
    assert len(found) == 5
    assert {key: [reason["code"] for reason in record["reasons"]] for key, record in found.items()} == {
        "classified": [],
        "referred": ["uncertain"],
        "rejected": ["not_an_image"],
        "superseded": ["deleted"],
        "failed": ["storage_unavailable"],
    }
    assert found["referred"]["label"] == found["classified"]["label"], "an abstaining model still says what it saw"
    assert all(reason["sentence"] for record in found.values() for reason in record["reasons"])


def test_a_bad_image_is_an_answer_and_touches_no_neighbour(rig, bucket, table):
    bodies = {
        "good-1": jpeg(1),
        "empty": b"",
        "truncated": jpeg(2, (640, 480))[:4000],
        "blank": encoded(picture(0).point(lambda _: 200), "PNG"),
        "good-2": jpeg(3),
        "not_an_image": b"MZ" + bytes(500),
        "too_small": jpeg(4, (8, 8)),
    }
    event = queue_event(*(bucket.put(name, body) for name, body in bodies.items()))
    assert handed_back(rig.handle(event)) == []
    found = {found["object"]["key"]: found for found in table.everything()}
    assert found.keys() == bodies.keys()
    for name, one in found.items():
        if name.startswith("good"):
            assert one["status"] in {"classified", "referred"}
            assert one["probabilities"] == rig.classifier.classify([bodies[name]])[0].probabilities
        else:
            assert (one["status"], one["reasons"][0]["code"]) == ("rejected", name)


def png_of(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits of grey
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_in_constant_memory(rig, bucket, table):
    """97 KB that really unpack to 100 MB, 70 bytes that claim 3.6 GB; a body without end is in `test_fetching.py`."""
    packer = zlib.compressobj()
    data = b"".join(packer.compress(bytes(10_001 * 100)) for _ in range(100)) + packer.flush()
    rig.handle(queue_event(bucket.put("usual.png", png_of(100, 100, zlib.compress(bytes(10_100))))))
    puts = [bucket.put("real.png", png_of(10_000, 10_000, data)), bucket.put("claim.png", png_of(60_000, 60_000, b""))]

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert handed_back(rig.handle(queue_event(*puts))) == []
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown < 30_000, "KB"
    found = {one["object"]["key"]: one["reasons"][0]["code"] for one in table.everything()}
    assert found == {"usual.png": "blank", "real.png": "too_many_pixels", "claim.png": "too_many_pixels"}


def test_duplicates_and_reordering_give_one_record(rig, bucket, table):
    first, second = bucket.put("same.jpg", jpeg(1)), bucket.put("same.jpg", jpeg(2))
    events = [queue_event(second, first, second), queue_event(first), queue_event(first, second)]
    for event in events:
        assert handed_back(rig.handle(event)) == []
    found = list(table.everything())
    assert sorted(one["object"]["version"] for one in found) == sorted([first.version, second.version])
    assert {one["object"]["sha256"] for one in found} == {hashlib.sha256(jpeg(n)).hexdigest() for n in (1, 2)}


def test_what_is_recorded_is_not_fetched_again(rig, bucket, table):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(3)]
    rig.handle(queue_event(*puts[:2]))
    before = list(table.everything())
    fetches = rig.break_call("s3.GetObject", lambda _: None)
    rig.handle(queue_event(*puts))
    assert len(fetches) == 1
    assert all(one in list(table.everything()) for one in before), "the first record stands, to its timestamp"


def test_a_new_model_keeps_the_record_of_the_former(make_rig, bucket, table, tmp_path):
    folder = write_tiny_bundle(tmp_path / "newer")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "0.0.2"}))
    put = bucket.put("a.jpg", jpeg(1))
    former, newer = make_rig(), make_rig(MODEL_BUNDLE=folder)
    former.handle(queue_event(put))
    newer.handle(queue_event(put))
    assert [one["model"]["version"] for one in table.history(put.image)] == [
        former.classifier.bundle.version,
        "0.0.2",
    ]


class TestWithoutVersions:
    def test_an_overwritten_upload_is_superseded_and_the_newer_one_classified(self, rig, unversioned_bucket, table):
        old = unversioned_bucket.put("a.jpg", jpeg(1))
        new = unversioned_bucket.put("a.jpg", jpeg(2))
        assert handed_back(rig.handle(queue_event(new, old))) == []
        found = {one["object"]["etag"]: one for one in table.everything()}
        assert found[old.etag]["status"] == "superseded"
        assert found[old.etag]["reasons"][0]["code"] == "overwritten"
        assert found[new.etag]["object"]["sha256"] == hashlib.sha256(jpeg(2)).hexdigest()

    def test_an_object_that_comes_back_unchanged_is_classified_after_all(self, rig, unversioned_bucket, table):
        put = unversioned_bucket.put("a.jpg", jpeg(1))
        unversioned_bucket.client.delete_object(Bucket=put.bucket, Key=put.key)
        rig.handle(queue_event(put))
        assert states(table) == {"a.jpg": "superseded"}
        assert unversioned_bucket.put("a.jpg", jpeg(1)) == put
        rig.handle(queue_event(put))
        assert states(table)["a.jpg"] in {"classified", "referred"}


def test_a_version_under_a_delete_marker_is_still_classified(rig, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    bucket.client.delete_object(Bucket=put.bucket, Key=put.key)
    rig.handle(queue_event(put))
    assert states(table)["a.jpg"] in {"classified", "referred"}


def test_a_message_is_done_only_with_all_of_its_uploads(rig, bucket, table):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(3)]
    forbidden = Put("forbidden.jpg", "a" * 32, bucket="not-ours")
    assert handed_back(rig.handle(queue_event(notification(puts[0], forbidden), puts[1], puts[2]))) == ["message-0"]
    assert len(states(table)) == 3, "what could be done of the message is done"


def test_a_message_that_is_not_understood_comes_back_alone(rig, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    assert handed_back(rig.handle(queue_event("no json", put, {"some": "thing"}))) == ["message-0", "message-2"]
    assert list(states(table)) == ["a.jpg"]


def test_a_batch_of_bad_messages_is_no_exception(rig, table):
    assert handed_back(rig.handle(queue_event("x", "[]", "null"))) == ["message-0", "message-1", "message-2"]


class TestWithoutQueue:
    """Asynchronous invocations know no partial response: Lambda retries what raises, as a whole."""

    def test_an_event_is_handled(self, rig, bucket, table):
        assert handed_back(rig.handle(notification(bucket.put("a.jpg", jpeg(1))))) == []
        assert list(states(table)) == ["a.jpg"]

    def test_an_upload_to_try_again_raises_after_the_others_are_recorded(self, rig, bucket, table):
        event = notification(Put("x.jpg", "a" * 32, bucket="not-ours"), bucket.put("a.jpg", jpeg(1)))
        with pytest.raises(TryAgainError, match="1 of 2 uploads"):
            rig.handle(event)
        assert list(states(table)) == ["a.jpg"]

    def test_what_can_never_be_understood_is_not_retried(self, rig, bucket, table):
        event = {"Records": [{"eventName": "ObjectCreated:Put"}, record(bucket.put("a.jpg", jpeg(1)))]}
        assert handed_back(rig.handle(event)) == []
        assert list(states(table)) == ["a.jpg"]


def test_without_time_everything_is_handed_back_and_nothing_begun(rig, bucket, table):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(3)]
    fetches = rig.break_call("s3.GetObject", lambda _: None)
    response = rig.handle(queue_event(*puts), Context(seconds=0))
    assert handed_back(response) == ["message-0", "message-1", "message-2"]
    assert not fetches
    assert not states(table)


def test_records_expire_when_asked_to(make_rig, bucket, table):
    make_rig(RECORD_TTL_DAYS=30).handle(queue_event(bucket.put("a.jpg", jpeg(1))))
    (item,) = items()
    (found,) = table.everything()
    assert "expires_at" not in found
    from datetime import datetime, timedelta

    predicted = datetime.fromisoformat(found["predicted_at"])
    assert int(item["expires_at"]["N"]) == int((predicted + timedelta(days=30)).timestamp())
