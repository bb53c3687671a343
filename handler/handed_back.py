"""What this process remembers of the uploads that it handed back: nothing that a correct answer needs.

A message that comes back does not say why. This process knows that it handed it back alive, and need not suspect its
image of having killed a worker; and it may still hold the answer that the table would not take.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handler.messages import Upload
    from handler.record import Finding

MOST = 2000
"""Uploads remembered, the latest ones; a finding takes about 3 KB."""


class HandedBack:
    """Thread-safe."""

    def __init__(self) -> None:
        self._receives: OrderedDict[Upload, int] = OrderedDict()
        self._findings: OrderedDict[Upload, Finding] = OrderedDict()
        self._lock = Lock()

    def note(self, upload: Upload, receives: int) -> None:
        """`upload` goes back by name at the end of its message's delivery number `receives`."""
        with self._lock:
            _keep(self._receives, upload, receives)

    def was_alive(self, upload: Upload, receives: int) -> bool:
        """Whether the delivery before number `receives` was this process's, which outlived it."""
        with self._lock:
            return self._receives.get(upload) == receives - 1

    def keep(self, finding: Finding) -> None:
        """Holds an answer that could not be written."""
        with self._lock:
            _keep(self._findings, finding.upload, finding)

    def finding(self, upload: Upload) -> Finding | None:
        """Such an answer, if there is one; it is given once."""
        with self._lock:
            return self._findings.pop(upload, None)


def _keep(memory: OrderedDict[Upload, Any], upload: Upload, value: Any) -> None:
    memory[upload] = value
    memory.move_to_end(upload)
    if len(memory) > MOST:
        memory.popitem(last=False)
