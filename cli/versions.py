"""Published versions of the worker: which ones there are, and the old ones deleted.

Each deployment publishes one. A version is a way back (docs/operations.md, "Roll back"). With SnapStart each one is
billed by the month until it is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.deployed import Account, aws_calls, find
from cli.output import count, say

if TYPE_CHECKING:
    from collections.abc import Iterable


def prune(stack: str, account: Account, keep: int, *, dry_run: bool) -> int:
    """Deletes all versions but the newest `keep` and those that an alias names; returns 0.

    Raises:
        DeployedError: there is no such stack, or AWS refused.
    """
    with aws_calls():
        deployed = find(stack, account)
        if not (function := deployed.outputs.get("WorkerName")):
            say(f"versions: the stack {stack} runs its worker without Lambda, so nothing publishes versions.")
            return 0
        lambda_ = deployed.client("lambda")
        named = _named(_pages(lambda_, "list_aliases", function, "Aliases"))
        pages = _pages(lambda_, "list_versions_by_function", function, "Versions")
        published = sorted((int(one["Version"]) for one in pages if one["Version"] != "$LATEST"), reverse=True)
        old = [version for version in published[keep:] if version not in named]
        for version in old:
            if not dry_run:
                lambda_.delete_function(FunctionName=function, Qualifier=str(version))
            print(f"{function}:{version} {'would be' if dry_run else 'is'} deleted", flush=True)
    say(f"{count(len(published) - len(old), 'version')} of {function} {'would stay' if dry_run else 'stay'}.")
    return 0


def _named(aliases: Iterable[dict[str, Any]]) -> set[int]:
    """Versions that get traffic: each alias's own, and the one that it sends a share to while a deployment shifts."""
    found = set()
    for alias in aliases:
        shares = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        found |= {int(version) for version in (alias["FunctionVersion"], *shares) if version != "$LATEST"}
    return found


def _pages(lambda_: Any, operation: str, function: str, what: str) -> list[dict[str, Any]]:
    pages = lambda_.get_paginator(operation).paginate(FunctionName=function)
    return [one for page in pages for one in page[what]]
