"""What the documentation names exists: links, sections, paths, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "models" / "README.md",
        ROOT / "benchmarks" / "README.md",
    ]
)
HISTORY = {ROOT / "CHANGELOG.md"}
"""Pages that may name what is gone."""
ROOMS = (
    "handler|model_layer|training|infra|api|cli|demo|pictures|proof|benchmarks|tests|events|docs|models|requirements"
)


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_all_pages_are_found():
    assert {"README.md", "docs/operations.md"} <= {page.relative_to(ROOT).as_posix() for page in PAGES}


def test_every_link_leads_somewhere(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_of_the_docs_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert listed >= {*(ROOT / "docs").glob("*.md")} - {index}


def test_every_command_runs_a_module_or_a_target_that_exists(page):
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ([a-z_][\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        found = (path / "__main__.py").is_file() or path.with_suffix(".py").is_file()
        assert found or module in {"pip", "pytest", "compileall"} or page in HISTORY, module
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)\b", text, re.MULTILINE):
        assert target in targets, target


def test_every_dermbatch_command_exists():
    from cli.app import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name or group.typer_instance.info.name for group in app.registered_groups}
    texts = (page.read_text("utf-8") for page in PAGES)
    named = {name for text in texts for name in re.findall(r"(?:bin/|`)dermbatch ([a-z][a-z-]*)", text)}
    assert "backfill" in named
    assert named <= commands


def test_every_option_of_a_dermbatch_command_exists(page):
    from typer.main import get_command

    from cli.app import app

    whole = get_command(app)
    for line in re.findall(r"(?:^|`|bin/)dermbatch ([a-z][^`\n#|]*)", page.read_text("utf-8"), re.MULTILINE):
        command, words = whole, line.split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        given = {word.partition("=")[0].strip("[]().,;:") for word in words if word.startswith("--")}
        assert given <= known or page in HISTORY, line


def test_every_path_exists(page):
    for path in re.findall(rf"`((?:{ROOMS})/[\w./*-]*)`", page.read_text(encoding="utf-8")):
        assert any(ROOT.glob(path)) or page in HISTORY, path


def links(page: Path) -> list[str]:
    """Targets of the page's links and pictures, without those to other sites."""
    return re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Names of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
