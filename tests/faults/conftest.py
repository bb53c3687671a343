from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from proof.soak.clouds import CLOUDS
from proof.soak.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack


@pytest.fixture(autouse=True)
def _on_linux() -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("workers in sandboxes need Linux (pidfds)")


@pytest.fixture(params=sorted(CLOUDS))
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Bucket, queues and table, empty, in each of the two clouds."""
    with CLOUDS[request.param](10, 5) as deployed:
        yield deployed


@pytest.fixture
def workers(stack: Stack, tiny_bundle: Path, tmp_path: Path) -> Callable[..., Workers]:
    """Workers, each in a process of its own, which faults may kill; `plan` names them by key."""
    (tmp_path / "struck").mkdir()

    def make(plan: Mapping[str, Sequence[str]], *, count: int = 1, **environment: Any) -> Workers:
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        settings = {"MODEL_BUNDLE": str(tiny_bundle), "INFERENCE_THREADS": "1", **environment}
        return Workers(stack, tmp_path, plan, settings, count)

    return make
