"""The entry point as Lambda loads it: `handler.app.lambda_handler`."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from dicom_objects import SECRETS, photograph
from s3_events import BUCKET, handed_back, queue_event
from sample_images import jpeg
from worker_rig import TABLE

from handler.intake.events import read_event
from handler.rollout import CHECK_EVENT
from infra.template import read_template

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"

EXPECTED = {
    "sqs-one-upload": (["clinic/lesion-1.jpg"], []),
    "sqs-many-records": ([f"clinic/lesion-{n}.jpg" for n in (1, 2, 3, 4)], []),
    "s3-direct": (["clinic/unversioned lesion.jpg"], []),
    "eventbridge": (["clinic/a+b %20c.jpg"], []),
    "s3-test-event": ([], []),
    "sqs-sns": (["clinic/lesion-1.jpg", "clinic/lesion 2.jpg", "clinic/lesion-3.jpg"], []),
    "sns-direct": (["clinic/lesion-1.jpg"], []),
    "sqs-restored": (["clinic/lesion-1.jpg"], []),
    "sqs-system-files": (["clinic/lesion-1.jpg"], []),
    "s3-removed": ([], []),
    "sqs-removed": ([], []),
    "sqs-backfill": (["clinic/ein Bild +1.jpg"], []),
    "sqs-foreign-bucket": ([], [5]),
    "sqs-not-an-upload": (["clinic/lesion-1.jpg"], [1, 2, 3]),
    "sqs-ugly-keys": (
        [
            "a+b%20c.jpg",
            "a b c.jpg",
            "a/b%2Fc.jpg",
            "皮膚/été.jpg",
            "röntgen🔬.jpg",
            "quote\"and'apostrophe.jpg",
            "semicolon;ampersand&question?hash#.jpg",
            "folder//double.jpg",
            "tab\tnewline\n.jpg",
            ".hidden",
            "no-extension",
            "+%=",
        ],
        [],
    ),
}
"""File: the keys that are recorded, and the numbers of the messages that come back."""


@pytest.fixture
def lambda_handler(tiny_bundle, table, hash_secret, monkeypatch):
    monkeypatch.setenv("PREDICTIONS_TABLE", TABLE)
    monkeypatch.setenv("UPLOADS_BUCKET", BUCKET)
    monkeypatch.setenv("HASH_SECRET_ARN", hash_secret)
    monkeypatch.setenv("MODEL_BUNDLE", str(tiny_bundle))
    monkeypatch.setenv("REMOVALS_QUEUE_URL", boto3.client("sqs").create_queue(QueueName="removals")["QueueUrl"])
    monkeypatch.delitem(sys.modules, "handler.app", raising=False)
    yield importlib.import_module("handler.app").lambda_handler
    sys.modules.pop("handler.app", None)


def test_every_kind_of_event_has_its_file_here():
    assert {file.stem for file in EVENTS.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_event_file(name, lambda_handler, bucket, table, context):
    """Its objects are uploaded first; the file's placeholders give way to the versions and etags that S3 gave."""
    text = (EVENTS / f"{name}.json").read_text(encoding="utf-8")
    uploads = {upload for message in read_event(json.loads(text)).messages for upload in message.uploads}
    for upload in uploads:
        put = bucket.put(upload.key, jpeg(1))
        text = text.replace(upload.etag, put.etag).replace(upload.version or upload.etag, put.version)

    keys, returned = EXPECTED[name]
    identifiers = handed_back(lambda_handler(json.loads(text), context))
    assert [int(identifier[-7:]) for identifier in identifiers] == returned
    found = list(table.everything())
    assert sorted(one["object"]["key"] for one in found) == sorted(keys)
    assert {one["status"] for one in found} <= {"classified", "referred"}
    assert {one["request_id"] for one in found} <= {context.aws_request_id}


def test_metrics_leave_as_one_line_in_cloudwatchs_format(lambda_handler, bucket, context, capsys):
    lambda_handler(queue_event(bucket.put("a.jpg", jpeg(1))), context)
    (metrics,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"BatchSize"' in line]
    names = {metric["Name"] for metric in metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert {"BatchSize", "FetchTime", "DecodeTime", "InferTime", "WriteTime"} <= names


@pytest.fixture
def _log_event(monkeypatch):
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")  # read at import


@pytest.mark.usefixtures("_log_event")
def test_powertools_own_switch_does_not_log_events_with_their_keys(lambda_handler, bucket, context, log):
    lambda_handler(queue_event(bucket.put("Jane-Doe.jpg", jpeg(1))), context)
    assert log()[-1]["request_id"] == context.aws_request_id
    assert "Jane-Doe" not in json.dumps(log())


def test_nothing_of_a_dicoms_patient_is_recorded_or_logged(lambda_handler, bucket, table, context, log, capfd):
    """No name, identifier or date: of the object the record holds the picture's format, size and answer."""
    whole = photograph(jpeg(1), (160, 120), nested=2)
    uploads = {
        "a.dcm": whole,
        "b.dcm": whole[: len(whole) // 2],
        "c.dcm": photograph(jpeg(1), (160, 120), frames="2"),
        "d.dcm": photograph(jpeg(1), (160, 120), sop_class="1.2.840.10008.5.1.4.1.1.2"),
    }
    lambda_handler(queue_event(*[bucket.put(key, data) for key, data in uploads.items()]), context)
    found = {record["object"]["key"]: record for record in table.everything()}
    assert found["a.dcm"]["status"] in ("classified", "referred")
    assert found["a.dcm"]["object"]["format"] == "dicom"
    assert {found[key]["status"] for key in ("b.dcm", "c.dcm", "d.dcm")} == {"rejected"}
    assert "several frames" in found["c.dcm"]["reasons"][0]["sentence"]
    told = json.dumps([*found.values(), *log()], default=str) + "".join(capfd.readouterr())
    assert [secret for secret in SECRETS if secret in told] == []


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    given = {"AWS_DEFAULT_REGION": "eu-central-1", "PREDICTIONS_TABLE": TABLE} | environment
    return subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", code], cwd=ROOT, env=inherited | given, capture_output=True, text=True, timeout=60
    )


def test_the_worker_imports_no_training_framework_and_nothing_needless(tiny_bundle):
    code = "import handler.app, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = run_python(code, MODEL_BUNDLE=str(tiny_bundle))
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.split())
    assert {"handler", "model_layer", "onnxruntime", "boto3"} <= imported
    needless = {"tensorflow", "keras", "torch", "sklearn", "scipy", "pandas", "matplotlib", "onnx", "pydantic"}
    needless |= {"api", "fastapi", "starlette", "uvicorn", "mangum"}
    needless |= {"aws_xray_sdk", "training", "infra", "cli", "demo", "pictures", "proof", "moto", "pytest"}
    assert not imported & needless


@pytest.mark.parametrize(("name", "value"), [("MAX_IMAGE_BYTES", "plenty"), ("MODEL_BUNDLE", "/nowhere")])
def test_a_wrong_setting_ends_the_start_in_one_sentence(tiny_bundle, name, value):
    run = run_python("import handler.app", **{"MODEL_BUNDLE": str(tiny_bundle)} | {name: value})
    assert run.returncode != 0
    assert re.match(rf"handler\.errors\.ConfigurationError: {name} must be .*\.$", run.stderr.splitlines()[-1])


def test_the_housekeeper_imports_no_decoder_and_no_model(tiny_bundle):
    """It may erase, so nothing that parses strangers' files comes near it."""
    code = "import handler.housekeeping, sys; print(*sys.modules)"
    memory = read_template()["Resources"]["Housekeeper"]["Properties"]["MemorySize"]  # too little to decode in
    run = run_python(code, MODEL_BUNDLE=str(tiny_bundle), AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(memory))
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.split())
    assert "handler.housekeeper" in imported
    assert not {name.partition(".")[0] for name in imported} & {"PIL", "numpy", "onnxruntime", "pydicom", "pillow_heif"}
    assert not imported & {"handler.worker", "handler.loading", "model_layer.classifier", "model_layer.network"}
    assert not [name for name in imported if name.startswith("model_layer.decoding")]


def test_the_reconciler_imports_no_decoder_and_no_worker():
    run = run_python(
        "import handler.reconciling, sys; print(*sys.modules)",
        UPLOADS_BUCKET="dermbatch-images",
        LIVE_QUEUE_URL="https://sqs.invalid/live",
        BULK_QUEUE_URL="https://sqs.invalid/bulk",
    )
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.split())
    assert "handler.reconciler" in imported
    assert not {name.partition(".")[0] for name in imported} & {"PIL", "numpy", "onnxruntime", "pydicom", "pillow_heif"}
    assert not imported & {"handler.worker", "handler.loading", "handler.housekeeper", "model_layer.network"}


def test_the_housekeepers_entry_point_answers_a_batch(lambda_handler, bucket, table, context, log):
    lambda_handler(queue_event(bucket.put("Jane-Doe.jpg", jpeg(1))), context)
    bucket.client.delete_object(Bucket=BUCKET, Key="Jane-Doe.jpg")
    sys.modules.pop("handler.housekeeping", None)
    keep_house = importlib.import_module("handler.housekeeping").lambda_handler
    sys.modules.pop("handler.housekeeping")
    removal = json.loads((EVENTS / "s3-removed.json").read_text().replace("clinic/lesion-1.jpg", "Jane-Doe.jpg"))
    (marker,) = bucket.client.list_object_versions(Bucket=BUCKET)["DeleteMarkers"]
    removal["Records"][0]["s3"]["object"]["versionId"] = marker["VersionId"]
    removal["Records"][0]["eventTime"] = "2999-01-01T00:00:00.000Z"
    assert handed_back(keep_house(queue_event(removal), context)) == []
    assert list(table.everything()) == []
    assert "Jane-Doe" not in json.dumps(log())


def test_the_store_can_be_read_without_a_worker():
    """Commands and services import it; neither the worker nor its telemetry may come along."""
    code = """
import sys, handler.intake.events, handler.store.erasure, handler.store.queries, handler.store.table
print(*sys.modules)
"""
    run = run_python(code)
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.split())
    assert "handler.store.record" in imported
    worker = {"handler.app", "handler.worker", "handler.telemetry", "handler.configuration", "aws_lambda_powertools"}
    assert not imported & worker
    assert not [name for name in imported if name.startswith("handler.flow")]


def test_a_worker_that_is_asked_whether_it_should_get_uploads_answers_and_writes_nothing(
    lambda_handler, bucket, table, context
):
    answer = lambda_handler(CHECK_EVENT, context)
    assert answer["problems"] == []
    assert answer["model"]
    assert boto3.client("dynamodb").scan(TableName=TABLE)["Count"] == 0


def test_the_hook_of_a_rollout_loads_no_model():
    """It runs on half a gigabyte, and only invokes another function."""
    run = run_python("import sys, handler.rollout\nprint(*sys.modules)")
    assert run.returncode == 0, run.stderr
    assert not {"onnxruntime", "numpy", "handler.app", "handler.worker"} & set(run.stdout.split())
