"""`make base` writes the registry's digest into both recipes, and nothing where Docker does not tell one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra import base_image
from infra.base_image import BaseImageError, base_of

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "public.ecr.aws/lambda/python:3.13"
NEW, OLD = (f"sha256:{two * 32}" for two in ("1b", "0a"))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Two recipes: one pinned long ago, one by its tag."""
    (tmp_path / "infra").mkdir()
    for name, base in zip(base_image.RECIPES, (f"{IMAGE}@{OLD}", IMAGE), strict=True):
        (tmp_path / name).write_text(f"# a recipe\nARG BASE_IMAGE={base}\n\nFROM ${{BASE_IMAGE}} AS build\n")
    return tmp_path


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A `docker` that has pulled the image. No registry can be reached from a test."""

    def put(*repo_digests: str, pulls: int = 0) -> None:
        program = tmp_path / "docker"
        lines = "".join(f"echo {one}\n" for one in repo_digests)
        program.write_text(f'#!/bin/sh\n[ "$1" = pull ] && {{ echo denied >&2; exit {pulls}; }}\n{lines}')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    return put


def test_both_recipes_get_todays_digest_and_keep_all_else(clone, docker, capsys):
    docker(f"mirror.example/python@{OLD}", f"{IMAGE.rpartition(':')[0]}@{NEW}")
    assert base_image.pin(clone) == 0
    for name in base_image.RECIPES:
        text = (clone / name).read_text()
        assert text == f"# a recipe\nARG BASE_IMAGE={IMAGE}@{NEW}\n\nFROM ${{BASE_IMAGE}} AS build\n"
    assert "as before" not in capsys.readouterr().out
    assert base_image.pin(clone) == 0
    assert capsys.readouterr().out.count("as before") == 2


@pytest.mark.parametrize(("digests", "pulls"), [((), 0), ((f"elsewhere@{NEW}",), 0), ((), 1)])
def test_without_a_digest_nothing_is_written(clone, docker, digests, pulls):
    before = [(clone / name).read_text() for name in base_image.RECIPES]
    docker(*digests, pulls=pulls)
    with pytest.raises(BaseImageError):
        base_image.pin(clone)
    assert [(clone / name).read_text() for name in base_image.RECIPES] == before


def test_the_recipes_of_this_repository_name_one_base():
    (base,) = {base_of(base_image.ROOT / name) for name in base_image.RECIPES}
    assert base[0] == IMAGE
