"""What `pipx install .` installs works outside the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sample_images import jpeg

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("handler", "model_layer", "cli", "demo", "infra", "pictures", "models", "requirements")


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


def test_it_brings_the_template(installed, tmp_path):
    script = "from infra.template import *; print(TEMPLATE, len(read_template()['Resources']))"
    path, resources = _run(installed, tmp_path, "-c", script).stdout.split()
    assert Path(path) == installed / "infra" / "template.yaml"
    assert int(resources) > 10
