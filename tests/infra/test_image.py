"""The recipes of the images fit the template that names them and the files that they are given."""

from __future__ import annotations

import pytest

from infra.template import TEMPLATE, read_template

ROOT = TEMPLATE.parent
RECIPES = {
    "Worker": "infra/Dockerfile",
    "Check": "infra/Dockerfile",
    "ShadowWorker": "infra/Dockerfile",
    "ApiFunction": "infra/Dockerfile.api",
}


def _instructions(recipe: str) -> list[list[str]]:
    text = (ROOT / recipe).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def _stages(recipe: str) -> dict[str, list[list[str]]]:
    """Instructions of each stage, by its name; the last one has none."""
    stages: dict[str, list[list[str]]] = {}
    name = "before the first"
    for words in _instructions(recipe):
        if words[0] == "FROM":
            name = words[3] if "AS" in words else ""
        stages.setdefault(name, []).append(words)
    return stages


@pytest.mark.parametrize("function", RECIPES)
def test_the_template_builds_a_stage_of_the_dockerfile_that_is_there(function):
    metadata = read_template()["Resources"][function]["Metadata"]
    assert metadata["Dockerfile"] == RECIPES[function]
    assert metadata["DockerContext"] == "."
    assert metadata["DockerBuildTarget"] in _stages(RECIPES[function])


def test_what_lambda_gets_names_no_user_and_everything_else_is_not_root():
    """With a user of its own, `sam local invoke` can't put its emulator into the image."""
    stages = _stages(RECIPES["Worker"])
    assert not [words for words in stages["lambda"] if words[0] == "USER"]
    assert stages[""][0] == ["FROM", "lambda"]
    assert [words[1] for words in stages[""] if words[0] == "USER"] == ["1000:1000"]


def test_the_images_are_given_what_they_copy_and_nothing_else():
    copied = {
        source.replace("[s]", "s")
        for recipe in RECIPES.values()
        for words in _instructions(recipe)
        if words[0] == "COPY" and not words[1].startswith("--from")
        for source in words[1:-1]
    }
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


def test_what_serves_by_itself_is_not_root_and_ends_with_the_signal_it_gets():
    service = _stages(RECIPES["ApiFunction"])["service"]
    assert [words[1] for words in service if words[0] == "USER"] == ["1000:1000"]
    (entry,) = [" ".join(words[1:]) for words in service if words[0] == "ENTRYPOINT"]
    assert entry == '["python3", "-m", "api", "--host", "0.0.0.0"]', "no shell in between"


def test_the_framework_of_the_service_is_no_part_of_the_workers_image():
    pinned = {
        name: (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8") for name in ("worker", "service")
    }
    for package in ("fastapi", "starlette", "pydantic", "uvicorn", "mangum", "python-multipart"):
        assert f"\n{package}==" in pinned["service"], package
        assert f"\n{package}==" not in pinned["worker"], package
    stages = _stages(RECIPES["Worker"])
    copied = [words[1] for stage in ("build", "lambda") for words in stages[stage] if words[0] == "COPY"]
    assert {word for word in copied if word != "--from=build"} == {
        *("requirements/worker.txt", "handler", "model_layer", "models"),
    }


def test_what_polls_a_queue_is_the_workers_image_and_not_root():
    work = _stages(RECIPES["Worker"])["work"]
    assert work[0][:2] == ["FROM", "lambda"]
    assert [words[1] for words in work if words[0] == "USER"] == ["1000:1000"]
    (entry,) = [" ".join(words[1:]) for words in work if words[0] == "ENTRYPOINT"]
    assert entry == '["python3", "-m", "cli", "work"]', "no shell in between, which would keep SIGTERM"
