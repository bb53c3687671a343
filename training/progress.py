"""A line that shows the progress of long work and the time left."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Progress:
    """Rewrites its line on a terminal; in a log, writes a new line every half minute."""

    def __init__(self, what: str, total: int) -> None:
        """`total` is in the units of `advance`."""
        self._what, self._total, self._done = what, max(total, 1), 0
        self._live = sys.stderr.isatty()
        self._interval = 0.2 if self._live else 30.0
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(final=True)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Adds `count` to what is done; `note` (such as a loss) ends the line."""
        self._done += count
        if time.monotonic() - self._shown >= self._interval:
            self._show(note=note)

    def _show(self, *, final: bool = False, note: str = "") -> None:
        self._shown = time.monotonic()
        spent = self._shown - self._started
        left = spent / max(self._done, 1) * (self._total - self._done)
        when = f"took {spent:.0f} s" if final else f"{left:.0f} s left"
        line = f"{self._what}: {self._done:,} of {self._total:,}, {when} {note}".rstrip()
        if self._live:
            sys.stderr.write(f"\r\033[K{line}" + ("\n" if final else ""))
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
