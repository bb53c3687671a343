"""The base that the worker's image is built on: AWS's own where it can be pulled, or else a stand-in made here.

The stand-in is Debian with Python, Lambda's runtime client (awslambdaric) and the Runtime Interface Emulator, behind
the same entry point as in AWS's image. It shows that the recipe, the user, the read-only disk and the contract hold;
it does not show that AWS's image has no surprise of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from docker_cli import DOCKER_MINUTES, docker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AWS = "public.ecr.aws/lambda/python:3.13"
STAND_IN = "dermbatch-stand-in-base:bookworm"
STAND_IN_PYTHON = "3.11"  # Debian 12's
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


class NoBaseError(RuntimeError):
    """There is no base image to build on. The message says why."""


@dataclass(frozen=True, slots=True)
class Base:
    """`wheels` is a folder of the images' dependencies where the build has no network; None where it has."""

    name: str
    wheels: Path | None


def base_image(engine: Mapping[str, str], scratch: Path, root: Path, emulator: Path, python: str) -> Base:
    """AWS's image or the stand-in. `emulator` is the Runtime Interface Emulator, `python` one that has pip."""
    given = os.environ.get("BASE_IMAGE")
    if given or _can_be_pulled(engine):
        return Base(given or AWS, None)
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise NoBaseError(f"{AWS} cannot be pulled, and a stand-in needs debootstrap and root")
    _make_stand_in(engine, scratch / "base", root, emulator, python)
    wheels = scratch / "wheels"
    sets = [str(root / "requirements" / f"{name}.txt") for name in ("service", "work")]
    _download(python, wheels, "--require-hashes", "-r", sets[0], "-r", sets[1])
    return Base(STAND_IN, wheels)


def _can_be_pulled(engine: Mapping[str, str]) -> bool:
    try:
        return docker(engine, "pull", "--quiet", AWS, timeout=300, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _make_stand_in(engine: Mapping[str, str], scratch: Path, root: Path, emulator: Path, python: str) -> None:
    scratch.mkdir(parents=True)
    # Kept between runs: it is the same for every commit, and takes a minute.
    archive = root / "build" / "docker" / "bookworm.tar"
    if not archive.is_file():
        _debootstrap(scratch / "rootfs", archive)
    docker(engine, "import", str(archive), "dermbatch-debian:bookworm")
    runtime = scratch / "runtime"
    pins = [f"{name}=={version(name)}" for name in ("awslambdaric", "snapshot-restore-py", "simplejson")]
    _download(python, runtime, *pins)
    shutil.copy(emulator, runtime / "aws-lambda-rie")
    (runtime / "lambda-entrypoint.sh").write_text(_ENTRY_POINT, encoding="utf-8")
    (runtime / "Dockerfile").write_text(_STAND_IN_RECIPE, encoding="utf-8")
    docker(engine, "build", "--quiet", "--tag", STAND_IN, str(runtime), timeout=DOCKER_MINUTES * 60)


def _debootstrap(rootfs: Path, archive: Path) -> None:
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=python3,python3-venv,python3-pip,ca-certificates",
        "bookworm",
    ]
    made = subprocess.run([*command, str(rootfs)], capture_output=True, text=True, timeout=600, check=False)
    if made.returncode:
        raise NoBaseError(f"debootstrap failed: {made.stdout[-300:]}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".part")
    packages = ["--exclude", "./var/cache/apt/archives", "--exclude", "./var/lib/apt/lists"]
    subprocess.run(["tar", "-C", str(rootfs), *packages, "-cf", str(unfinished), "."], timeout=300, check=True)
    unfinished.rename(archive)


def _download(python: str, folder: Path, *what: str) -> None:
    """Wheels for the stand-in's Python, whichever Python runs the tests."""
    wanted = ["--python-version", STAND_IN_PYTHON, *(part for name in _PLATFORMS for part in ("--platform", name))]
    command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary", ":all:", *wanted, "--dest", str(folder), *what], timeout=600, check=True)


# As AWS's: the handler is the command; the emulator plays Lambda unless the runtime's address says that one is there.
_ENTRY_POINT = """#!/bin/sh
run="/usr/bin/python3 -m awslambdaric"
if [ -z "$AWS_LAMBDA_RUNTIME_API" ]; then exec /usr/local/bin/aws-lambda-rie $run "$1"; fi
exec $run "$1"
"""

_STAND_IN_RECIPE = """
FROM dermbatch-debian:bookworm
ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime PYTHONPATH=/var/runtime PYTHONDONTWRITEBYTECODE=1
COPY *.whl /wheels/
RUN python3 -m pip install --quiet --no-index --no-deps --target /var/runtime /wheels/*.whl && rm -r /wheels
COPY aws-lambda-rie /usr/local/bin/aws-lambda-rie
COPY lambda-entrypoint.sh /lambda-entrypoint.sh
RUN chmod 755 /lambda-entrypoint.sh /usr/local/bin/aws-lambda-rie
WORKDIR /var/task
ENTRYPOINT ["/lambda-entrypoint.sh"]
"""
