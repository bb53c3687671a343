"""What `pipx install .` installs works outside the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from sample_images import jpeg

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("handler", "model_layer", "cli", "api", "demo", "infra", "pictures", "models", "requirements")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel that is built from a copy of the clone."""
    clone, wheels, installed = (tmp_path_factory.mktemp(name) for name in ("clone", "wheels", "installed"))
    for room in ROOMS:
        shutil.copytree(ROOT / room, clone / room, ignore=shutil.ignore_patterns("__pycache__", "*.png"), symlinks=True)
    for file in ("pyproject.toml", "template.yaml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, clone)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(wheels), str(clone)], check=True, timeout=100)
    (wheel,) = wheels.glob("dermbatch-*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    return installed


def _run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MODEL_BUNDLE"}
    environment |= {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-P", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip


def test_it_brings_the_model(installed, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    run = _run(installed, tmp_path, "-m", "cli", "classify", "a.jpg")
    assert run.returncode == 0, run.stderr
    assert "1 image classified with vgg16-skin" in run.stderr


def test_its_sets_bring_what_their_requirements_say(installed):
    (metadata,) = installed.glob("dermbatch-*.dist-info")
    found = {(_name(line), _extra(line)) for line in PathDistribution(metadata).requires or []}
    for extra, sets in ((None, ("worker", "work", "command")), ("service", ("service",)), ("parquet", ("parquet",))):
        lines = [line for name in sets for line in (ROOT / "requirements" / f"{name}.in").read_text().splitlines()]
        wanted = {_name(line) for line in lines if line and not line.startswith("#")}
        assert wanted
        assert {name for name, of in found if of == extra} == wanted


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower()


def _extra(requirement: str) -> str | None:
    found = re.search(r'extra == "(\w+)"', requirement)
    return found[1] if found else None


@pytest.mark.parametrize("where", [["--local", "--state", "state"], ["--stack", "none"]])
def test_serve_without_its_packages_names_the_set_and_starts_nothing(installed, tmp_path, where):
    script = "import sys; sys.modules['fastapi'] = None; from cli.app import main; "
    run = _run(installed, tmp_path, "-c", f"{script}sys.exit(main({['serve', '--port', '0', *where]}))")
    assert run.returncode == 1
    assert re.fullmatch(r"serve: The service needs the package fastapi: .*'\.\[service\]'.*\n", run.stderr)
    assert list(tmp_path.iterdir()) == []


def test_it_brings_the_page_of_the_service(installed):
    assert {"index.html", "modules", "styles", "icons"} <= {
        path.name for path in (installed / "api" / "page").iterdir()
    }


def test_it_brings_the_template(installed, tmp_path):
    script = "from infra.template import *; print(TEMPLATE, len(read_template()['Resources']))"
    path, resources = _run(installed, tmp_path, "-c", script).stdout.split()
    assert Path(path) == installed / "infra" / "template.yaml"
    assert int(resources) > 10
