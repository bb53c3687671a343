"""Answers that the table would not take, kept for their upload's return to this process. No answer depends on it."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handler.messages import Upload
    from handler.record import Finding

MOST = 2000
"""Findings kept, the latest ones; each takes about 3 KB."""


class HandedBack:
    """Thread-safe."""

    def __init__(self) -> None:
        self._findings: OrderedDict[Upload, Finding] = OrderedDict()
        self._lock = Lock()

    def keep(self, finding: Finding) -> None:
        """Holds an answer that could not be written."""
        with self._lock:
            self._findings[finding.upload] = finding
            self._findings.move_to_end(finding.upload)
            if len(self._findings) > MOST:
                self._findings.popitem(last=False)

    def finding(self, upload: Upload) -> Finding | None:
        """Such an answer, if there is one; it is given once."""
        with self._lock:
            return self._findings.pop(upload, None)
