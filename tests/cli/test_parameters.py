"""`dermbatch parameters`: what a deployment would leave as it is in the stack."""

from __future__ import annotations

import json

import pytest

from cli.app import main

pytestmark = pytest.mark.integration


def test_only_what_differs_from_the_defaults_is_listed(fresh_stack, monkeypatch, capsys):
    stack = fresh_stack(BatchSize=7, BatchWindowSeconds=2, MaxReceives=5)
    for name, value in stack.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    assert main(["parameters", "--stack", stack.name, "--json"]) == 0
    rows = {row["parameter"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows.keys() == {"BatchSize", "EndpointUrl"}
    assert rows["BatchSize"] == {"parameter": "BatchSize", "stack": "7", "default": "32"}
    assert main(["parameters", "--stack", "nowhere"]) == 4
