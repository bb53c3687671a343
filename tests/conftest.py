from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_bundle import write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny bundle that runs in under a millisecond."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
