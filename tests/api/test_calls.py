"""Which calls of AWS the service makes: those that its role in template.yaml allows, and no others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from sample_images import jpeg
from test_records import put

from api import records
from handler import aws
from handler.store.precedence import enter

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.settings import Settings
    from infra.stack import Stack

GRANTED = {
    "HeadObject",
    "GetObject",
    "ListObjectVersions",
    "DeleteObject",
    "Query",
    "BatchGetItem",
    "PutItem",
    "DeleteItem",
    "GetSecretValue",
}
"""The operations behind the permissions of ApiRole; tests/infra/test_api_template.py has these."""


@pytest.fixture
def calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Operation and parameters, of every client that is made from now on."""
    made: list[tuple[str, dict[str, Any]]] = []
    real = aws.client

    def watched(service: str, given: object) -> object:
        client = real(service, given)
        client.meta.events.register(
            "provide-client-params.*.*",
            lambda params, model, **_: made.append((model.name, params)),
        )
        return client

    monkeypatch.setattr(records.aws, "client", watched)
    return made


def test_the_service_calls_what_its_role_allows(calls, settings, stack: Stack, work: Callable[[], object]):
    from running import running

    from api.app import create_app

    with running(create_app(settings)) as watched:
        image = put(watched, jpeg(9))
        work()
        # So that there are two models to tell apart, whatever label the image got.
        enter(stack.endpoint.client("dynamodb"), settings.table, "9.9")
        for path in ("/v1/prediction", "/v1/preview"):
            assert watched.get(path, params={"image": image}).status_code == 200
        for question in ({}, {"label": "mel"}, {"status": "failed"}, {"status": "referred"}):
            assert watched.get("/v1/predictions", params=question).status_code == 200
        assert watched.delete("/v1/prediction", params={"image": image}).status_code == 202
    assert {name for name, _ in calls} == GRANTED
    deleted = [parameters for name, parameters in calls if name == "DeleteObject"]
    assert all("VersionId" in parameters for parameters in deleted), "only versions: s3:DeleteObjectVersion"
    # The partitions of the table that it writes to, which its role is held to.
    written = {parameters["Item"]["image"]["S"] for name, parameters in calls if name == "PutItem"}
    erased = {parameters["Key"]["image"]["S"] for name, parameters in calls if name == "DeleteItem"}
    assert all(re.fullmatch("#[0-9a-f]{64}", partition) for partition in written), "marks only"
    assert erased == {image}


def test_no_request_has_to_make_a_client(settings, monkeypatch: pytest.MonkeyPatch):
    from running import running

    from api.app import create_app

    with running(create_app(settings)) as started:
        monkeypatch.setattr(records.boto3, "client", None)
        assert started.post("/v1/uploads").status_code == 201
        assert started.get("/v1/predictions", params={"label": "mel"}).status_code == 200
