"""What a pipe does with a record of its stream: as much of EventBridge's patterns and input templates as ours use.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html
"""

from __future__ import annotations

import json
import re
from typing import Any

_ABSENT = object()


def matches(pattern: dict[str, Any], event: Any) -> bool:
    """Whether `event` has every field of `pattern`, with one of the values or as `exists` wants it."""
    return all(_field_matches(rule, event.get(name, _ABSENT)) for name, rule in pattern.items())


def _field_matches(rule: Any, value: Any) -> bool:
    if isinstance(rule, dict):
        return matches(rule, value if isinstance(value, dict) else {})
    return any(_is(one, value) for one in rule)


def _is(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(wanted == value)
    ((operator, argument),) = wanted.items()
    assert operator == "exists", f"this evaluator does not know {operator}"
    return (value is not _ABSENT and not isinstance(value, dict)) is argument


def message(template: str, event: Any) -> dict[str, Any]:
    """What is published: `<$.path>` outside quotes becomes the value as JSON; a value that is not there, null."""

    def filled(match: re.Match[str]) -> str:
        value = event
        for name in match[1].split("."):
            value = value.get(name, {})
        return json.dumps(value or None)

    made: dict[str, Any] = json.loads(re.sub(r"<\$\.([\w.]+)>", filled, template))
    return made
