"""Whatever arrives, the handler answers: garbage in events and in images, made by hypothesis."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_events import Put, handed_back, message, notification, queue_event
from sample_images import encoded, jpeg, picture
from worker_rig import Context

from handler.intake.events import Batch, Upload, read_event

# One worker and one table serve all examples of a test: each example is one more event for them.
hypothesis_settings = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=12), parts, max_size=4),
    max_leaves=12,
)


@st.composite
def bent_events(draw):
    """A sound event with some of its parts, at any depth, replaced by garbage or taken away."""
    put = Put(draw(st.text(min_size=1, max_size=20)), "a" * 32, draw(st.none() | st.just("v1")))
    sound = draw(
        st.sampled_from(
            [
                notification(put, put),
                {"source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-23T09:30:00Z"}
                | {"detail": {"bucket": {"name": put.bucket}, "object": {"key": put.key, "etag": put.etag}}},
                {"Service": "Amazon S3", "Event": "s3:TestEvent"},
            ]
        )
    )

    def bend(part):
        if draw(st.integers(0, 9)) == 0:
            return draw(json_values)
        if isinstance(part, dict):
            return {name: bend(value) for name, value in part.items() if draw(st.integers(0, 19))}
        if isinstance(part, list):
            return [bend(value) for value in part]
        return part

    bent = bend(sound)
    if draw(st.booleans()):
        return bent
    return bend({"Records": [message(0, bent), message(1, notification(put)), message(2, draw(st.text(max_size=30)))]})


@hypothesis_settings
@given(event=json_values | bent_events())
def test_no_event_raises_while_it_is_read(event):
    batch = read_event(event)
    assert isinstance(batch, Batch)
    for found in batch.messages:
        for upload in found.uploads:
            assert isinstance(upload, Upload)
            assert 0 < len(upload.key.encode()) <= 1024
            assert upload.object_version


@hypothesis_settings
@given(body=st.text(max_size=40) | json_values.map(lambda value: json.dumps(value)[:200]))
def test_no_body_raises_and_its_neighbour_is_read(body):
    good = Put("good.jpg", "a" * 32)
    batch = read_event(queue_event(body, good))
    assert [upload.key for upload in batch.messages[1].uploads] == ["good.jpg"]


def test_a_body_too_deep_to_parse_is_no_exception():
    batch = read_event(queue_event("[" * 100_000, Put("good.jpg", "a" * 32)))
    assert batch.messages[0].problems
    assert batch.messages[1].uploads


@pytest.mark.usefixtures("bucket")
@hypothesis_settings
@given(event=bent_events())
def test_no_event_raises_out_of_the_worker(rig, event):
    """Only where no queue could take single messages back may an upload to try again raise; here none is to."""
    response = rig.handle({"Records": [message(7, event)]}, Context())
    assert set(handed_back(response)) <= {"message-7"}


@st.composite
def bent_files(draw):
    """A sound file, cut off, with bytes changed, or with garbage before or behind; or nothing but garbage."""
    kind = draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"]))
    data = bytearray(encoded(picture(draw(st.integers(0, 3)), (64, 64)), kind))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    data = bytes(data[: draw(st.integers(1, len(data)) | st.just(len(data)))])
    return draw(st.sampled_from([b"", b"\0", b"GIF89a"])) + data + draw(st.binary(max_size=8))


@pytest.fixture
def thorough(make_rig):
    """A worker that passes over nothing, because some made-up names are those of folders and system files."""
    return make_rig(IGNORE_SYSTEM_FILES="false")


@hypothesis_settings
@given(data=bent_files() | st.binary(max_size=200), name=st.text(string.printable, min_size=1, max_size=12))
def test_no_file_raises_and_its_neighbour_is_classified(thorough, bucket, table, data, name):
    bad, good = bucket.put(f"bad/{name}", data), bucket.put("good.jpg", jpeg(1))
    assert handed_back(thorough.handle(queue_event(bad, good))) == []
    version = thorough.classifier.bundle.version
    found = table.get(bad.image, f"{bad.version}#{version}")
    assert found["status"] in {"classified", "referred", "rejected"}
    assert table.get(good.image, f"{good.version}#{version}")["status"] in {"classified", "referred"}
