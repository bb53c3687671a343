"""The description of the service: committed, true, complete."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.routing import APIRoute
from jsonschema_rs import validator_for

from api import examples, schemas
from api.openapi import FILE, description
from handler.store import record

DESCRIPTION = json.loads(FILE.read_text(encoding="utf-8"))
OPERATIONS = [
    (f"{method} {path}", operation) for path, item in DESCRIPTION["paths"].items() for method, operation in item.items()
]


def test_the_committed_description_is_that_of_the_code():
    assert FILE.read_text(encoding="utf-8") == description(), "write it anew: python -m api.openapi"


def test_it_describes_every_endpoint_and_no_key_is_part_of_a_path():
    names = {name for name, _ in OPERATIONS}
    assert names == {
        "post /v1/classify",
        "post /v1/uploads",
        "post /v1/uploads/relay",
        "get /v1/predictions",
        "get /v1/prediction",
        "delete /v1/prediction",
        "get /v1/preview",
        "get /v1/model",
        "get /healthz",
        "get /readyz",
    }
    assert not [name for name in names if "{" in name]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_every_error_is_problem_details_and_every_answer_is_described(name, operation):
    for status, response in operation["responses"].items():
        assert response["description"], name
        if status >= "400":
            assert set(response["content"]) == {"application/problem+json"}, (name, status)
    assert operation["summary"]


def _examples(operation):
    for status, response in operation["responses"].items():
        for content in response["content"].values():
            if "example" in content:
                yield status, content["schema"], content["example"]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_every_example_fits_its_schema(name, operation):
    for status, schema, example in _examples(operation):
        whole = {**schema, "components": DESCRIPTION["components"]}
        assert validator_for(whole).is_valid(example), (name, status)


def test_every_answer_of_json_has_an_example():
    for name, operation in OPERATIONS:
        given = {status for status, _, _ in _examples(operation)}
        success = next(status for status in operation["responses"] if status < "300")
        assert success in given or name in {"get /healthz", "get /readyz", "get /v1/preview"}, name


@pytest.mark.parametrize(
    ("described", "written"),
    [
        (schemas.Record, record.Record),
        (schemas.File, record.ObjectFields),
        (schemas.ModelName, record.ModelFields),
        (schemas.Reason, record.ReasonFields),
        (schemas.Heatmap, record.HeatmapFields),
    ],
)
def test_the_record_is_described_field_by_field_as_it_is_written(described, written):
    fields = {field.alias or name for name, field in described.model_fields.items()}
    assert fields == set(written.__annotations__)


def test_the_example_of_a_record_has_every_field():
    assert set(examples.ANSWER) == set(record.Record.__annotations__)
    assert set(examples.ANSWER["object"]) == set(record.ObjectFields.__annotations__)


def test_nothing_is_loaded_from_other_hosts():
    from api.app import create_app
    from api.settings import Settings

    app = create_app(Settings.from_environment({}))
    paths = {route.path for route in app.routes if not isinstance(route, APIRoute) and hasattr(route, "path")}
    assert not {path for path in paths if re.search("docs|redoc", path)}
