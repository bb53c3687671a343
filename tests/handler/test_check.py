"""What a new version is asked before it gets uploads, and what CodeDeploy is told of its answer."""

from __future__ import annotations

import json
import shutil

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from s3_events import BUCKET
from worker_rig import answer

from handler import rollout
from handler.rollout import CHECK_EVENT
from model_layer import Classifier
from model_layer.known_answer import known_answer


def test_a_sound_worker_has_nothing_against_itself(make_rig, bucket):
    rig = make_rig(UPLOADS_BUCKET=BUCKET)
    assert rig.worker.check() == {"model": rig.classifier.bundle.version, "problems": []}


def test_a_worker_that_may_not_read_or_write_or_that_answers_otherwise_says_so(make_rig, bucket, tiny_bundle, tmp_path):
    stated = known_answer(Classifier.load(tiny_bundle))
    wrong = shutil.copytree(tiny_bundle, tmp_path / "wrong")
    manifest = json.loads((wrong / "manifest.json").read_text())
    likeliest = max(stated, key=lambda code: stated[code])
    manifest["known_answer"] = {"probabilities": stated | {likeliest: stated[likeliest] - 0.1}}
    (wrong / "manifest.json").write_text(json.dumps(manifest))
    rig = make_rig(UPLOADS_BUCKET=BUCKET, MODEL_BUNDLE=wrong)
    (problem,) = rig.worker.check()["problems"]
    assert f"for {likeliest}; its manifest states" in problem

    for call, denied in (
        ("s3.GetObject", answer(403, "<Error><Code>AccessDenied</Code></Error>")),
        ("dynamodb.BatchGetItem", answer(400, '{"__type": "x#AccessDeniedException"}')),
    ):
        rig = make_rig(UPLOADS_BUCKET=BUCKET)
        rig.break_call(call, lambda _, denied=denied: denied)
        (problem,) = rig.worker.check()["problems"]
        assert f"{call.partition('.')[2]} failed with AccessDenied" in problem


def test_the_check_writes_nothing(make_rig, bucket):
    rig = make_rig(UPLOADS_BUCKET=BUCKET)
    rig.break_call("dynamodb.PutItem", lambda _: RuntimeError("a write"))
    assert rig.worker.check()["problems"] == []


@pytest.fixture
def told(monkeypatch, make_rig, bucket):
    """Runs the hook; the new version is a real worker, or answers with `body`. Gives what CodeDeploy is told."""
    rig = make_rig(UPLOADS_BUCKET=BUCKET)
    monkeypatch.setenv("NEW_VERSION", "arn:aws:lambda:eu-central-1:123456789012:function:worker:42")
    connect = boto3.client

    def run(body: str | None = None, headers: dict[str, str] | None = None, fault: Exception | None = None) -> str:
        statuses = []

        def invoke(request, **_):
            assert request.url.endswith("%3A42/invocations")
            assert json.loads(request.body) == CHECK_EVENT
            request.url = "https://lost.invalid/"  # moto's own hook comes next
            if fault:
                raise fault
            return answer(200, json.dumps(rig.worker.check()) if body is None else body, headers)

        def note(request, **_):
            statuses.append(json.loads(request.body))
            request.url = "https://lost.invalid/"
            return answer(200, "{}")

        def client(service, **settings):
            made = connect(service, **settings)
            made.meta.events.register_first("before-send.lambda.Invoke", invoke)
            made.meta.events.register_first("before-send.codedeploy.PutLifecycleEventHookExecutionStatus", note)
            return made

        monkeypatch.setattr(boto3, "client", client)
        rollout.lambda_handler({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"})
        (status,) = statuses
        assert (status["deploymentId"], status["lifecycleEventHookExecutionId"]) == ("d-1", "e-1")
        return str(status["status"])

    return run


def test_codedeploy_is_told_whether_the_new_version_may_get_uploads(told, caplog):
    assert told() == "Succeeded"
    assert told('{"model": "1", "problems": ["It gives another answer."]}') == "Failed"
    assert "It gives another answer." in caplog.text


@pytest.mark.parametrize(
    "given",
    [
        {"body": '{"errorType": "Runtime.ExitError"}', "headers": {"X-Amz-Function-Error": "Unhandled"}},
        {"fault": ReadTimeoutError(endpoint_url="https://lambda/")},
        {"body": '{"batchItemFailures": []}'},
        {"body": "null"},
    ],
    ids=["it dies", "silence", "a version from before there was a check", "nothing"],
)
def test_a_new_version_without_an_answer_gets_no_uploads(told, given, caplog):
    assert told(**given) == "Failed"
    assert (
        f"The new version {'failed: Runtime.ExitError.' if 'headers' in given else 'gave no answer: '}" in caplog.text
    )
