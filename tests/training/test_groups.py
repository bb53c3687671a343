"""The folders of `training` import one another in one direction only."""

from __future__ import annotations

import ast
from pathlib import Path

import training

GROUPS = ("data", "network", "evaluation", "fit", "report", "accelerator")
FOLDER = Path(training.__file__).parent


def test_a_group_imports_only_the_groups_before_it():
    commands = {file.stem for file in FOLDER.glob("*.py")} - {"config", "errors", "machine", "progress"}
    for number, group in enumerate(GROUPS):
        later = {*GROUPS[number + 1 :], *commands}
        for file in (FOLDER / group).glob("*.py"):
            names = [
                node.module.split(".")[1]
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("training.")
            ]
            assert not later.intersection(names), file
