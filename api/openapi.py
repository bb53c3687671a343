"""`python -m api.openapi`: writes docs/openapi.json anew. A test holds the file against the code."""

from __future__ import annotations

import json
from pathlib import Path

from api.app import create_app
from api.settings import Settings

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def description() -> str:
    """OpenAPI's description of the service, as the file holds it."""
    return json.dumps(create_app(Settings.from_environment({})).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(description(), encoding="utf-8")
