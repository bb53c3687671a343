"""What every program here does with its result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def give(result: Mapping[str, Any], file: Path | None) -> None:
    """Prints `result` as JSON, and writes it to `file` too, if there is one; its folder is made."""
    text = json.dumps(result, indent=2)
    print(text)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
