"""The recipe of the worker's image fits the template that names it and the files that it is given."""

from __future__ import annotations

from infra.template import TEMPLATE, read_template

ROOT = TEMPLATE.parent


def _instructions() -> list[list[str]]:
    text = (ROOT / "infra" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def _stages() -> dict[str, list[list[str]]]:
    """Instructions of each stage, by its name; the last one has none."""
    stages: dict[str, list[list[str]]] = {}
    name = "before the first"
    for words in _instructions():
        if words[0] == "FROM":
            name = words[3] if "AS" in words else ""
        stages.setdefault(name, []).append(words)
    return stages


def test_the_template_builds_a_stage_of_the_dockerfile_that_is_there():
    metadata = read_template()["Resources"]["Worker"]["Metadata"]
    assert (ROOT / metadata["Dockerfile"]).is_file()
    assert metadata["DockerContext"] == "."
    assert metadata["DockerBuildTarget"] in _stages()


def test_what_lambda_gets_names_no_user_and_everything_else_is_not_root():
    """With a user of its own, `sam local invoke` can't put its emulator into the image."""
    stages = _stages()
    assert not [words for words in stages["lambda"] if words[0] == "USER"]
    assert stages[""][0] == ["FROM", "lambda"]
    assert [words[1] for words in stages[""] if words[0] == "USER"] == ["1000:1000"]


def test_the_image_is_given_what_it_copies_and_nothing_else():
    copied = {
        source.replace("[s]", "s")
        for words in _instructions()
        if words[0] == "COPY" and not words[1].startswith("--from")
        for source in words[1:-1]
    }
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
