"""The versions of the model that have answered, and which of them has precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.deployed import Account, aws_calls, find
from cli.output import Form, say, write_rows
from cli.rows import second
from handler.store.precedence import Precedence, prefer
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS: dict[str, Callable[[Any], str] | None] = {"version": None, "since": second}


class ModelsError(UserError):
    """No model of that version has answered."""


def models(preferred: str | None, stack: str, account: Account, form: Form) -> int:
    """Prints the versions of the model, the one with precedence first, after `preferred` was made that.

    Raises:
        UserError: no such version has answered, or the stack cannot be reached.
    """
    with aws_calls():
        deployed = find(stack, account)
        dynamodb = deployed.client("dynamodb")
        known = Precedence.read(dynamodb, deployed.table)
        if preferred is not None:
            if preferred not in known.since:
                raise ModelsError(
                    f"No model {preferred!r} has answered; known are {', '.join(known.models) or 'none'}."
                )
            prefer(dynamodb, deployed.table, preferred)
            known = Precedence.read(dynamodb, deployed.table)
    write_rows(({"version": version, "since": known.since[version]} for version in known.models), COLUMNS, form)
    if known.models:
        say(f"Where several have answered an image, the record of {known.models[0]} counts.")
    else:
        say("No model has answered yet.")
    return 0
