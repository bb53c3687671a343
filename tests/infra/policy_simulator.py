"""IAM's decision over the policies of the template: a denial beats all, and what nothing allows is denied.

As much of the evaluation logic as these policies use; an operator or element that is not known here fails the test.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KNOWN = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}


@dataclass(frozen=True)
class Request:
    """One call: by whom, what, on which resource, under which circumstances."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)
    service: str | None = None
    """The AWS service that calls, for policies of resources; None: a principal of the account in `context`."""


def allowed(request: Request, policies: Iterable[Mapping[str, Any]]) -> bool:
    """Whether `policies`, all that apply to the principal or the resource, allow the request."""
    effects = {
        statement["Effect"] for policy in policies for statement in policy["Statement"] if _applies(statement, request)
    }
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    assert set(statement) <= _KNOWN, statement
    return (
        _principal_matches(statement.get("Principal"), request)
        and any(fnmatchcase(request.action.lower(), pattern.lower()) for pattern in listed(statement["Action"]))
        and any(fnmatchcase(request.resource, pattern) for pattern in listed(statement["Resource"]))
        and all(
            _condition_holds(operator, key, listed(wanted), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _principal_matches(principal: Any, request: Request) -> bool:
    match principal:
        case None | "*":  # a policy of the principal itself has none
            return True
        case {"Service": services}:
            return request.service in listed(services)
        case {"AWS": accounts}:
            return any(request.context.get("aws:PrincipalAccount", "-") in account for account in listed(accounts))
    raise AssertionError(principal)


def _condition_holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    given = context.get(key)
    match operator:
        case "StringEquals" | "ArnEquals" | "Bool":
            return given in wanted
        case "ArnLike":
            return given is not None and any(fnmatchcase(given, pattern) for pattern in wanted)
        case "ForAllValues:StringEquals":  # also true where the request has no such key, as the next one
            return given is None or given in wanted
        case "ForAllValues:StringLike":
            return given is None or any(fnmatchcase(given, pattern) for pattern in wanted)
        case "StringNotEquals" | "ArnNotEquals":  # also true where the request says nothing
            return given not in wanted
        case "BoolIfExists":
            return given is None or given in wanted
    raise AssertionError(operator)


def listed(value: Any) -> list[Any]:
    """IAM lets a single value stand for a list of one."""
    return value if isinstance(value, list) else [value]
