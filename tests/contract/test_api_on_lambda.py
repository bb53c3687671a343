"""The service under Lambda's own runtime: the files of its image, awslambdaric, events as an HTTP API makes them."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from runtime_emulator import Runtime, copy_what_the_image_holds, program, runtime
from sample_images import jpeg

from handler.store.record import NOTICE
from infra.embedded_aws import embedded_aws
from infra.stack import deploy
from infra.worker_loop import function_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        program() is None,
        reason="needs the Runtime Interface Emulator: Linux on x86_64, and aws-sam-cli in .venv-sam",
    ),
]

IAM = {"iam": {"accountId": "123456789012", "userArn": "arn:aws:iam::123456789012:user/anna"}}


@pytest.fixture(scope="module")
def service(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = copy_what_the_image_holds(tmp_path_factory.mktemp("image"), "Dockerfile.api", "/build/service")
    assert sorted(path.name for path in folder.iterdir()) == ["api", "handler", "model_layer", "models", "pictures"]
    with embedded_aws() as endpoint:
        stack = deploy(endpoint)
        base = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        environment = function_environment(stack, base) | {"MODEL_BUNDLE": str(tiny_bundle)}
        log = tmp_path_factory.mktemp("log") / "service.log"
        with runtime(folder, log, environment, timeout=29, handler="api.lambda_app.lambda_handler") as running:
            yield running


def ask(service: Runtime, method: str, path: str, query: str = "", body: bytes | None = None, **more: Any) -> Any:
    """One request in payload format 2.0; gives status, headers, and the body's bytes."""
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "a1b2.execute-api.eu-central-1.amazonaws.com", **more.get("headers", {})},
        "requestContext": {
            "accountId": "123456789012",
            "authorizer": more.get("authorizer", IAM),
            "domainName": "a1b2.execute-api.eu-central-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "requestId": "id",
            "stage": "$default",
        },
        "isBase64Encoded": body is not None,
    }
    if body is not None:
        event["body"] = base64.b64encode(body).decode()
        event["headers"]["content-length"] = str(len(body))
    answer = service.invoke(event)
    raw = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    return answer["statusCode"], answer["headers"], raw, answer["isBase64Encoded"]


def test_an_image_is_classified_and_drawn(service):
    status, headers, body, packed = ask(service, "POST", "/v1/classify", body=jpeg(1))
    assert (status, headers["content-type"], packed) == (200, "application/json", False)
    assert json.loads(body)["status"] in {"classified", "referred"}
    status, headers, body, packed = ask(service, "POST", "/v1/classify", body=jpeg(1), headers={"accept": "image/png"})
    assert (status, headers["content-type"], packed) == (200, "image/png", True)
    assert body.startswith(b"\x89PNG")
    assert headers["dermbatch-notice"] == NOTICE


def test_a_problem_is_text_and_names_its_code(service):
    for method, path, body, expected in (
        ("POST", "/v1/classify", b"no image", (422, "not_an_image")),
        ("GET", "/v1/nothing", None, (404, "not_found")),
        ("GET", "/v1/prediction", None, (422, "invalid_request")),
        ("PUT", "/v1/model", None, (405, "method_not_allowed")),
    ):
        status, headers, answer, packed = ask(service, method, path, body=body)
        assert (headers["content-type"], packed) == ("application/problem+json", False)
        assert (status, json.loads(answer)["code"]) == expected


@pytest.mark.parametrize(("size", "status"), [(4_500_000, 422), (4_500_001, 413)])
def test_what_does_not_fit_is_shown_the_way_by_the_bucket(service, size, status):
    got, _, body, _ = ask(service, "POST", "/v1/classify", body=b"x" * size)
    assert got == status
    assert status == 422 or "/v1/uploads" in json.loads(body)["detail"]


def test_a_key_with_anything_in_it_comes_through_the_query(service):
    status, _, body, _ = ask(
        service, "GET", "/v1/prediction", query="image=dermbatch-images%2Fa%2Bb%2520c%2F%C3%A4.jpg"
    )
    assert (status, json.loads(body)["code"]) == (404, "no_record")


def test_a_place_for_a_larger_file_is_given_out(service):
    status, _, body, _ = ask(service, "POST", "/v1/uploads")
    place = json.loads(body)
    assert status == 201
    assert place["fields"]["policy"]
    assert place["max_bytes"] > 4_500_000, "the bucket takes what does not fit here"


@pytest.mark.parametrize("authorizer", [None, {}, {"lambda": {}}])
@pytest.mark.parametrize("path", ["/v1/model", "/healthz", "/", "/openapi.json"])
def test_nobody_is_anonymous(service, authorizer, path):
    status, _, body, _ = ask(service, "GET", path, authorizer=authorizer)
    assert (status, json.loads(body)["code"]) == (401, "unauthorized")


def test_a_token_that_the_http_api_has_checked_is_enough(service):
    status, _, _, _ = ask(service, "GET", "/v1/model", authorizer={"jwt": {"claims": {"sub": "anna"}, "scopes": None}})
    assert status == 200


def test_neither_keys_nor_callers_are_logged(service):
    ask(service, "GET", "/v1/prediction", query="image=dermbatch-images%2Fclinic%2Fschmidt.jpg")
    log = service.log.read_text()
    assert "GET /v1/prediction 404" in log
    assert "schmidt" not in log
