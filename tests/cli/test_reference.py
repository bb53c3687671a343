"""The reference page is what the code says."""

from __future__ import annotations

import json
import re
import typing

import pytest

from cli import reference
from model_layer import manifest


def test_the_page_is_up_to_date():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), "run python -m cli.reference"


def test_every_setting_code_and_field_has_a_meaning():
    rows = [line for line in reference.reference().splitlines() if line.startswith("| `") and line.count(" | ") > 0]
    assert len(rows) > 100
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


def test_every_field_of_a_record_is_listed():
    golden = json.loads((reference.PAGE.parents[1] / "tests" / "golden" / "record-1.json").read_text(encoding="utf-8"))
    section = reference.reference().partition("## The record")[2].partition("Fields of")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(golden)


SHIPPED = json.loads(next((reference.PAGE.parents[1] / "models").glob("*/manifest.json")).read_text(encoding="utf-8"))


def test_the_shipped_manifest_is_what_the_reference_says():
    """A field that is missing, new or of another type is found here."""
    check(SHIPPED, manifest.ManifestFields, "manifest")
    check(SHIPPED["training"], manifest.TrainingFields, "training")
    documented = set(reference.MANIFEST_PARTS.values()) | {manifest.ManifestFields, manifest.PointFields}
    assert {cls for cls in vars(manifest).values() if typing.is_typeddict(cls)} == documented


@pytest.mark.parametrize("change", [{"new": 1}, {"name": None}, {"labels": [{"code": "a"}]}, {"kinds": {"a": {}}}])
def test_a_manifest_of_another_form_would_be_noticed(change):
    with pytest.raises(AssertionError):
        check({**SHIPPED, **change}, manifest.ManifestFields, "manifest")


def check(value: object, hint: object, where: str) -> None:
    if typing.is_typeddict(hint):
        fields = typing.get_type_hints(hint, include_extras=True)
        needed = {name for name, one in fields.items() if typing.get_origin(one) is not typing.NotRequired}
        assert needed <= set(value) <= set(fields), where
        for name, field in typing.get_type_hints(hint).items():
            if name in value:
                check(value[name], field, f"{where}.{name}")
        return
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        assert isinstance(value, list), where
        for one in value:
            check(one, inner[0], where)
    elif origin is dict:
        assert isinstance(value, dict), where
        for name, one in value.items():
            check(one, inner[1], f"{where}.{name}")
    elif hint is not typing.Any:
        assert isinstance(value, (int, float) if hint is float else hint), where
