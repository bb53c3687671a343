"""Code blocks of a page of documentation, with what the comment above each says about running it.

    <!-- not run: REASON -->         it cannot run in a test
    <!-- exits with N: REASON -->    its last command ends with N
    <!-- needs PACKAGE, ... -->      it runs where these are installed

`sh` and `python` run. A block of `text` is the output of the one before it. Any other language has to say why it is
not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RUN = ("sh", "python")
OUTPUT = "text"
_FENCE = re.compile(
    r"^(?:<!-- (?P<marker>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    line: int
    """Of the page, where it begins."""
    language: str
    text: str
    marker: str

    @property
    def not_run(self) -> str:
        """Why it is not run; empty where it is."""
        return self.marker.removeprefix("not run: ") if self.marker.startswith("not run: ") else ""

    @property
    def exit_code(self) -> int:
        found = re.match(r"exits with (\d+): .", self.marker)
        return int(found[1]) if found else 0

    @property
    def needs(self) -> list[str]:
        """Packages."""
        return self.marker.removeprefix("needs ").split(", ") if self.marker.startswith("needs ") else []

    @property
    def says_what_happens(self) -> bool:
        """Whether its language and marker are among those that a page may have."""
        known = not self.marker or bool(self.not_run or self.exit_code or self.needs)
        return known and (self.language in {*RUN, OUTPUT} or bool(self.not_run))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text[: found.start()].count("\n") + 1, found["language"], found["text"], found["marker"] or "")
        for found in _FENCE.finditer(text)
    ]


def outside(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def certain_lines(output: str) -> list[str]:
    """What every machine prints alike: the first line, and those without numbers, which the processor may change.

    A line with `...` is cut, and says nothing for certain.
    """
    first, *others = (normalised(line) for line in output.splitlines() if line.strip())
    return [first, *(line for line in others if "0" not in line and "..." not in line)]


def normalised(text: str) -> str:
    """Numbers and random names as 0, spaces as one."""
    return " ".join(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d[\d.,]*", "0", text).split())
