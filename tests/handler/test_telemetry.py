"""One log line for each image, and none that tells whose it is."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import EndpointConnectionError
from s3_events import Put, queue_event
from sample_images import jpeg
from worker_rig import answer, counted

from handler import telemetry

MOST_BYTES = 400
SECRET = "Jane-Doe-1971-left-arm"


@pytest.fixture(autouse=True)
def _no_metrics_left():
    yield
    telemetry.metrics.clear_metrics()


def test_each_image_has_one_line(rig, bucket, log):
    rig.handle(queue_event(bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", b"no image")))
    logged = [line for line in log() if line["message"].startswith("image")]
    assert len(logged) == 2
    for line in logged:
        assert line["status"] in {"classified", "referred", "rejected"}
        assert line["timings_ms"]["fetch"] > 0
        assert len(line["image"]) == 12


def test_the_line_of_an_image_is_short_and_says_more_where_more_happened(rig, bucket, log):
    """CloudWatch bills lines by the byte, and each image has one. Only an unusual image has the other fields."""
    put = bucket.put("a.jpg", jpeg(1))
    telemetry.logger.append_keys(request_id="11111111-2222-3333-4444-555555555555")
    for receives in (1, 2):
        rig.handle(queue_event(put, receives=receives))
    rig.break_call("dynamodb.PutItem", lambda n: RuntimeError("no"))
    rig.handle(queue_event(bucket.put("b.jpg", jpeg(2))))
    first, again, handed_back, _ = log()
    assert len(json.dumps(first, separators=(",", ":"))) <= MOST_BYTES
    usual = {"level", "message", "timestamp", "model", "request_id", "image", "version", "status", "timings_ms"}
    assert set(first) - {"reasons"} == usual
    assert (again["written"], again["correlation_id"], again["receives"]) == (False, "message-0", 2)
    assert (handed_back["level"], handed_back["correlation_id"], handed_back["receives"]) == ("WARNING", "message-0", 1)


def test_metrics_are_short_too(rig, bucket, capsys):
    rig.handle(queue_event(*[bucket.put(f"{n}.jpg", jpeg(n)) for n in range(8)]))
    telemetry.metrics.flush_metrics()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    times = [value for name, values in json.loads(line).items() if name.endswith("Time") for value in values]
    assert len(times) == 32
    assert all(len(str(value)) <= 7 for value in times)


def test_no_key_is_logged_in_clear(rig, bucket, log):
    faults = [
        EndpointConnectionError(endpoint_url=f"https://s3/{SECRET}"),
        RuntimeError(f"cannot bear {SECRET}"),
        answer(403, f"<Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error>"),
    ]
    puts = [bucket.put(f"{SECRET}/{n}.jpg", jpeg(n)) for n in range(8)]
    rig.break_call("s3.GetObject", lambda n: faults[n] if n < len(faults) else None)
    rig.handle(queue_event(*puts, Put(SECRET, "a" * 32, "gone"), f"{SECRET} is no event"))
    assert len(log()) >= 10
    assert SECRET not in json.dumps(log())
    assert any(line.get("raised_at") for line in log()), "an unforeseen error says where, not what"


def test_images_are_counted_by_state_and_stage(rig, bucket, capsys):
    puts = [bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", b"no image"), Put("c", "a" * 32, "gone")]
    rig.handle(queue_event(*puts))
    rig.handle(queue_event(puts[0], "no event"))
    totals = {name: sum(values) for name, values in counted(capsys).items()}
    assert totals["BatchSize"] == 4
    assert totals.get("Classified", 0) + totals.get("Referred", 0) == 1
    assert (totals["Rejected"], totals["Superseded"], totals["Unreadable"]) == (1, 1, 1)
    assert (totals["AlreadyRecorded"], totals["TryAgain"]) == (1, 0)
    assert {"FetchTime", "DecodeTime", "InferTime", "WriteTime"} <= set(totals)


def test_every_image_is_one_sample_of_those_to_try_again_also_when_there_was_no_time_for_it(rig, bucket, capsys):
    """The alarms take the number of samples for the images answered, and their sum for those that come again."""
    puts = [bucket.put(f"{n}.jpg", b"no image") for n in range(3)]
    rig.handle(queue_event(*puts))
    telemetry.report_unbegun(250)
    telemetry.metrics.flush_metrics()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    samples = [value for line in lines for value in line.get("TryAgain", [])]
    assert (len(samples), sum(samples)) == (253, 250)
    assert sum(value for line in lines for value in line.get("Rejected", [])) == 3, "what was counted before is kept"
    assert all(line["service"] == "dermbatch" for line in lines)


def test_lines_and_metrics_name_the_models_version_and_no_metric_has_it_as_a_dimension(rig, bucket, log, capsys):
    """A dimension would multiply the bill by the versions, and take the numbers away from the alarms."""
    rig.handle(queue_event(bucket.put("a.jpg", jpeg(1)), "no event"))
    telemetry.metrics.flush_metrics()
    version = rig.classifier.bundle.version
    assert {line["model"] for line in log()} == {version}
    (emitted,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert emitted["model"] == version
    assert [one["Dimensions"] for one in emitted["_aws"]["CloudWatchMetrics"]] == [[["service"]]]
