"""One engine, one base and one build for all tests of this tier; where they can't be had, every test says why."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from base_image import Base, NoBaseError, base_image
from build_context import EMULATOR, ROOT, write_context
from docker_cli import docker
from docker_engine import NoEngineError, engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Docker:
    """The engine, and the base that images are built on."""

    engine: Mapping[str, str]
    base: Base
    context: Path
    """What the build is given: a copy of the repository's part that the image needs, and the wheels."""

    def __call__(self, *arguments: str, timeout: float = 120, check: bool = True):
        return docker(self.engine, *arguments, timeout=timeout, check=check)

    def build(self, tag: str, *, target: str | None = None, recipe: str = "Dockerfile") -> float:
        """Builds the worker's image, or that of another recipe; returns the seconds that it took."""
        given = ["--build-arg", f"BASE_IMAGE={self.base.name}"]
        if self.base.wheels:
            given += ["--build-arg", "PIP_OPTIONS=--no-index --find-links wheels"]
        if target:
            given += ["--target", target]
        started = time.monotonic()
        file = str(self.context / "infra" / recipe)
        self("build", *given, "--file", file, "--tag", tag, str(self.context), timeout=900)
        return time.monotonic() - started


@pytest.fixture(scope="session")
def docker_tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    scratch = tmp_path_factory.mktemp("docker")
    emulators = sorted((ROOT / ".venv-sam").glob(f"lib/python*/site-packages/{EMULATOR}"))
    if not emulators:
        pytest.skip("Docker tier not run: no .venv-sam (make .venv-sam/.installed)")
    try:
        # A folder of its own: a socket's path may have 108 characters, and pytest's folders are deep.
        with (
            tempfile.TemporaryDirectory(prefix="dermbatch-docker-", ignore_cleanup_errors=True) as folder,
            engine(Path(folder)) as variables,
        ):
            base = base_image(variables, scratch, ROOT, emulators[0], sys.executable)
            context = write_context(ROOT, scratch / "context", base.wheels)
            yield Docker(variables, base, context)
    except (NoEngineError, NoBaseError) as reason:
        pytest.skip(f"Docker tier not run: {reason}")


@pytest.fixture(scope="session")
def image(docker_tier: Docker) -> str:
    """The image as Lambda gets it."""
    docker_tier.build("dermbatch-worker:test", target="lambda")
    return "dermbatch-worker:test"
