"""`make base`: the images' recipes name their base by a digest, the one that its tag has today.

A tag moves: two builds of one commit could hold different systems. A digest does not, so somebody has to raise it, or
the base gets no security updates (docs/security.md says when). The digest is that of the index, which lists the image
of each processor. Docker asks the registry; it is needed to build anyway.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from model_layer.errors import UserError, run_command

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ("infra/Dockerfile", "infra/Dockerfile.api")
_BASE = re.compile(r"^ARG BASE_IMAGE=(?P<image>[^\s@]+:[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$", re.MULTILINE)


class BaseImageError(UserError):
    """A recipe names no base, or Docker cannot say what its digest is."""


def base_of(recipe: Path) -> tuple[str, str | None]:
    """The image with its tag, and its digest if the recipe names one.

    Raises:
        BaseImageError: the recipe has no such line.
    """
    if not (found := _BASE.search(recipe.read_text(encoding="utf-8"))):
        raise BaseImageError(
            f"{recipe.name} has no line ARG BASE_IMAGE=<image>:<tag>, with or without @sha256:<digest>."
        )
    return found["image"], found["digest"]


def pin(root: Path = ROOT) -> int:
    """Writes today's digest into each recipe; returns 0.

    Raises:
        BaseImageError: Docker is missing or does not reach the registry.
    """
    for name in RECIPES:
        recipe = root / name
        image, former = base_of(recipe)
        digest = _digest(image)
        text = recipe.read_text(encoding="utf-8")
        recipe.write_text(_BASE.sub(f"ARG BASE_IMAGE={image}@{digest}", text), encoding="utf-8")
        print(f"{name}: {image}@{digest}{', as before' if digest == former else ''}")
    return 0


def _digest(image: str) -> str:
    if not (docker := shutil.which("docker")):
        raise BaseImageError("Docker is not installed.")
    for command in (["pull", "--quiet", image], ["image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', image]):
        done = subprocess.run([docker, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BaseImageError(
                f"docker {command[0]} failed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
            )
    repository = image.rpartition(":")[0]
    digests = [line.partition("@")[2] for line in done.stdout.splitlines() if line.startswith(f"{repository}@")]
    if len(digests) != 1 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digests[0]):
        raise BaseImageError(f"Docker names {len(digests)} digests of {image} instead of one.")
    return digests[0]


if __name__ == "__main__":
    sys.exit(run_command("base", pin))
