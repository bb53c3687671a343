"""Which of a stack's parameters differ from this version's defaults.

CloudFormation keeps the value of every parameter that a deployment does not name, defaults of former versions too. So
a default that changed in template.yaml reaches no stack that exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.deployed import Account, aws_calls, find
from cli.output import count, say, write_rows
from infra.template import read_template

if TYPE_CHECKING:
    from cli.output import Form

COLUMNS = {"parameter": None, "stack": None, "default": None}


def parameters(stack: str, account: Account, form: Form) -> int:
    """Prints each parameter whose value is not the template's default, and how to take the defaults; returns 0.

    Raises:
        DeployedError: the stack cannot be described.
        TemplateError: there is no template here.
    """
    with aws_calls():
        deployed = find(stack, account)
    defaults = {name: str(told.get("Default", "")) for name, told in read_template()["Parameters"].items()}
    differing = [
        {"parameter": name, "stack": value, "default": defaults[name]}
        for name, value in sorted(deployed.parameters.items())
        if name in defaults and value != defaults[name]
    ]
    if not differing:
        say(f"All parameters of {stack} have this version's defaults.")
        return 0
    write_rows(differing, COLUMNS, form)
    say(f"{count(len(differing), 'parameter')} of {stack} would stay as in the stack. To change one, deploy with")
    say("    make deploy STACK=... PARAMETERS='NAME=VALUE NAME=VALUE'")
    return 0
