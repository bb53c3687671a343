"""The docker command, told which engine to talk to."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCKER_MINUTES = 10


def docker(
    engine: Mapping[str, str], *arguments: str, timeout: float = 120, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs `docker ARGUMENTS`; raises AssertionError with its own words when it fails."""
    # Without BuildKit: Debian's engine brings no buildx, and the recipe needs none of it.
    environment = {**os.environ, **engine, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *arguments], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check:
        assert done.returncode == 0, f"docker {arguments[0]}: {(done.stdout + done.stderr)[-3000:]}"
    return done
