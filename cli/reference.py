"""docs/reference.md: every name that a user, an operator or a program may rely on, taken from the code.

    python -m cli.reference            writes the page; a test fails when it is out of date

Meanings are the docstrings and help texts that stand beside the code, so they are written once.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import typer.main

from cli.app import app
from handler.configuration import Settings
from handler.errors import REFUSALS, ConfigurationError, ErrorCode
from handler.store import record
from infra.template import TEMPLATE, read_template
from model_layer import ReferralCode, RejectionCode, Status, manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PAGE = TEMPLATE.parent / "docs" / "reference.md"
_REQUIRED = {"PREDICTIONS_TABLE": "predictions"}
_HEAD = """# Reference

Made from the code by `python -m cli.reference`. Research use only. Not a medical device."""
_FAILURES = """In `failed` and `superseded` records, and in the log. [Operations](operations.md#dead-letters) says what
to do about each."""
_SETTINGS = """Environment variables. A wrong value stops the worker at start, with a sentence that names the variable.
The template sets all except {unset}."""

_MANIFEST = """`manifest.json` of a bundle, schema 1, as `make train` writes it."""
RECORD_PARTS = {
    "`reasons`": record.ReasonFields,
    "`object`": record.ObjectFields,
    "`model`": record.ModelFields,
    "`heatmap`": record.HeatmapFields,
}
MANIFEST_PARTS = {
    "`network`": manifest.NetworkFields,
    "`labels`": manifest.LabelFields,
    "`input`": manifest.InputFields,
    "`calibration`, also of each kind": manifest.CalibrationFields,
    "`thresholds`, also of each kind": manifest.ThresholdsFields,
    "the threshold of `confidence`": manifest.ConfidenceFields,
    "each other threshold, also of each limit of `quality`": manifest.ThresholdFields,
    "`known_answer`": manifest.KnownAnswerFields,
    "`training`": manifest.TrainingFields,
}


def reference() -> str:
    """The whole page as Markdown."""
    sections = [
        _HEAD,
        "## Statuses\n\nEvery upload ends with one.",
        _table(("status", "meaning"), ((f"`{status}`", status.sentence) for status in Status)),
        "## Codes of reasons\n\nA record's `reasons` hold a code, and a sentence for whoever took the photograph.",
        _table(("status", "code", "sentence"), _reasons()),
        f"## Codes of failures\n\n{_FAILURES}",
        _table(("code", "meaning"), ((f"`{code}`", meaning) for code, meaning in _attributes(ErrorCode))),
        "## The record\n\nSchema 1. Every field is always there, and null where there is nothing to say.",
        _table(("field", "type", "meaning"), _fields(record.Record)),
        *_tables(RECORD_PARTS),
        f"## The bundle's manifest\n\n{_MANIFEST}",
        _table(("field", "type", "meaning"), _fields(manifest.ManifestFields)),
        *_tables(MANIFEST_PARTS),
        f"## The worker's settings\n\n{_SETTINGS.format(unset=_unset())}",
        _table(("variable", "default", "range", "meaning"), _settings()),
        "## Parameters of the template",
        _table(("parameter", "default", "values", "meaning"), _parameters()),
        "## Commands",
        *_commands(),
    ]
    return "\n\n".join(sections) + "\n"


def main() -> int:
    """Writes the page."""
    PAGE.write_text(reference(), encoding="utf-8")
    return 0


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _reasons() -> Iterable[tuple[str, str, str]]:
    for status, codes in ((Status.REFERRED, ReferralCode), (Status.REJECTED, RejectionCode)):
        yield from ((f"`{status}`", f"`{code}`", code.sentence) for code in codes)
    yield from ((f"`{Status.REJECTED}`", f"`{code}`", sentence) for code, sentence in REFUSALS.items())


def _attributes(cls: type) -> list[tuple[str, str]]:
    """Name (of an enum's member its value) and docstring of each attribute of `cls`, in the order of its source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    found: dict[str, str] = {}
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = ""
            case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=str(name))):
                found[name] = ""
            case ast.Expr(value=ast.Constant(value=str(text))) if found:
                found[name] = " ".join(text.split())
    return list(found.items())


def _fields(cls: type) -> list[tuple[str, str, str]]:
    """Name, JSON type and meaning of each field of a TypedDict, those of its bases first."""
    rows = []
    for part in (*_bases(cls), cls):
        types: dict[str, Any] = part.__annotations__
        rows += [(f"`{name}`", _json_type(types[name]), meaning) for name, meaning in _attributes(part)]
    return rows


def _bases(cls: type) -> list[type]:
    """The TypedDicts that `cls` extends; before Python 3.12 only its source knows them."""
    (body,) = ast.parse(inspect.getsource(cls)).body
    bases = body.bases if isinstance(body, ast.ClassDef) else []
    names = [base.id for base in bases if isinstance(base, ast.Name) and base.id != "TypedDict"]
    return [getattr(sys.modules[cls.__module__], name) for name in names]


def _json_type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", str(annotation))
    null = " or null" if text.endswith("| None") else ""
    text = text.removesuffix("| None").strip()
    if text.startswith("NotRequired["):
        return f"{_json_type(text.removeprefix('NotRequired[').removesuffix(']'))}, optional"
    names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    if text.startswith("list["):
        inner = text.removeprefix("list[").removesuffix("]")
        return f"array of {names.get(inner, 'object')}s{null}"
    if text.startswith("dict[") or text.endswith("Fields"):
        return f"object{null}"
    return f"{names[text]}{null}"


def _tables(parts: Mapping[str, type]) -> Iterable[str]:
    for name, cls in parts.items():
        yield f"Fields of {name}:"
        yield _table(("field", "type", "meaning"), _fields(cls))


def _settings() -> Iterable[tuple[str, str, str, str]]:
    defaults = Settings.from_environment(_REQUIRED)
    for name, meaning in _attributes(Settings):
        variable, value = name.upper(), getattr(defaults, name)
        yield f"`{variable}`", _default(variable, value), _range(variable), meaning


def _unset() -> str:
    """The variables that keep their defaults on AWS."""
    function = read_template()["Resources"]["Worker"]["Properties"]
    *most, last = [
        f"`{name.upper()}`"
        for name, _ in _attributes(Settings)
        if name.upper() not in function["Environment"]["Variables"]
    ]
    return f"{', '.join(most)} and {last}"


def _default(variable: str, value: object) -> str:
    # These two depend on the machine that makes the page.
    special = {"INFERENCE_THREADS": "all cores", "MODEL_BUNDLE": "the only folder of `models/`"}
    if variable in _REQUIRED:
        return "required"
    if variable in special:
        return special[variable]
    if value is None:
        return "unset"
    return f"{value:,}" if type(value) is int else str(value).lower() if isinstance(value, bool) else str(value)


def _range(variable: str) -> str:
    """The worker's own words about a value that it refuses."""
    try:
        Settings.from_environment({**_REQUIRED, variable: "no such value\n"})
    except ConfigurationError as error:
        words = str(error).partition(" must be ")[2].partition(", but ")[0]
        return re.sub(r"[0-9]{4,}", lambda number: f"{int(number[0]):,}", words)
    return ""


def _parameters() -> Iterable[tuple[str, str, str, str]]:
    for name, parameter in read_template()["Parameters"].items():
        values = ", ".join(map(str, parameter.get("AllowedValues", ())))
        if "MinValue" in parameter:
            values = f"{parameter['MinValue']:,} to {parameter['MaxValue']:,}"
        default = str(parameter.get("Default", "required"))
        yield f"`{name}`", default or "empty", values, " ".join(parameter["Description"].split())


def _commands() -> Iterable[str]:
    yield from _of(typer.main.get_command(app), "dermbatch")


def _of(command: Any, name: str) -> Iterable[str]:
    children = getattr(command, "commands", None)
    if children:
        for child in children.values():
            if not child.hidden:
                yield from _of(child, f"{name} {child.name}")
        return
    yield f"### {name}"
    yield inspect.cleandoc(command.help or "").partition("\f")[0].strip()
    rows = [_option(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield _table(("option", "default", "meaning"), rows)


def _option(parameter: Any) -> tuple[str, str, str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [str(parameter.metavar or parameter.human_readable_name.upper())]
    default = parameter.default
    shown = "" if default is None or default is False or callable(default) else str(default)
    meaning = " ".join((getattr(parameter, "help", "") or "").split())
    return ", ".join(f"`{name}`" for name in names), f"`{shown}`" if shown else "", meaning


if __name__ == "__main__":
    sys.exit(main())
