from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def tensorflow(request: pytest.FixtureRequest) -> None:
    """Loads TensorFlow before a test that needs it: its seconds should count neither at collection nor in the test."""
    if request.node.get_closest_marker("training"):
        import keras  # noqa: F401
