"""The tables of docs/performance.md, made from benchmarks/results/.

    python -m benchmarks.side_by_side.documents

A table stands between `<!-- bench:NAME -->` and `<!-- end -->`; a test holds that it says what the results say.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import report

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "performance.md"
RESULT = ROOT / "benchmarks" / "results" / report.JSON_FILE
AVX2_ONLY = RESULT.parent / "avx2-only"
"""Results of a processor without 8-bit multiply-add; their places begin with `avx2-`."""
_PLACE = re.compile(r"<!-- bench:(?P<name>[a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)


def refreshed(text: str, result: Path = RESULT) -> str:
    """`text` with every table as `result` and the other results have it; one without results stays as it is."""
    tables = report.sections(_read(result))
    tables |= {f"avx2-{name}": table for name, table in report.sections(_read(AVX2_ONLY / report.JSON_FILE)).items()}
    for name, table in (("engines", report.engines_table), ("layers", report.layers_table)):
        for prefix, folder in (("", RESULT.parent), ("avx2-", AVX2_ONLY)):
            if (file := folder / f"{name}.json").exists():
                tables[prefix + name] = table(_read(file))

    def filled(place: re.Match[str]) -> str:
        name = place["name"]
        return f"<!-- bench:{name} -->\n{tables[name]}\n<!-- end -->" if name in tables else place[0]

    return _PLACE.sub(filled, text)


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def refresh() -> None:
    """Rewrites the document."""
    DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    refresh()
