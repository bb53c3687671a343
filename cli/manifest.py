"""The manifest of a submission: which file went where, one line of JSON for each, appended as uploads end.

    {"file": "a/b.jpg", "sha256": "...", "bytes": 1234, "bucket": "...", "key": "...", "version": "...", "etag": "...",
     "stack": "arn:..."}

`file` is relative to the folder that was submitted. A later line about the same file replaces an earlier one. A line
that an interruption cut off is dropped: its upload is found again in the bucket.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Self

from model_layer.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

NAME = "dermbatch-manifest.jsonl"
_START = '{"file": '


class ManifestError(UserError):
    """The file is no manifest."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Sent:
    """One file that is in the bucket."""

    file: str
    sha256: str
    bytes: int
    bucket: str
    key: str
    version: str | None
    etag: str
    stack: str
    """The stack's id, which no later stack of the same name has."""

    @property
    def image(self) -> str:
        """`<bucket>/<key>`, as records name it."""
        return f"{self.bucket}/{self.key}"

    @property
    def object_version(self) -> str:
        """As `handler.intake.messages.Upload` has it."""
        return self.version or self.etag

    def line(self) -> str:
        """As the manifest holds it. A file name that is not UTF-8 is escaped."""
        return json.dumps(asdict(self)) + "\n"


_FIELDS = {field.name for field in fields(Sent)}


def parse(text: str, name: str = "manifest") -> dict[str, Sent]:
    """The last line about each file, in the order in which files were sent first.

    Raises:
        ManifestError: a line is not one of a manifest.
    """
    lines = text.split("\n")
    if lines[-1] and not _is_cut_off(lines[-1]):
        lines.append("")
    sent: dict[str, Sent] = {}
    for number, line in enumerate(lines[:-1], start=1):
        if not line.strip():
            continue
        entry = _entry(line)
        if entry is None:
            raise ManifestError(
                f"{name} is no manifest of a submission: line {number} is not one of `dermbatch submit`."
            )
        sent[entry.file] = entry
    return sent


def _entry(line: str) -> Sent | None:
    try:
        held = json.loads(line)
        entry = Sent(**{field: held[field] for field in _FIELDS})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (entry.file, entry.sha256, entry.bucket, entry.key, entry.etag, entry.stack)
    sound = all(isinstance(text, str) for text in texts) and isinstance(entry.version, str | None)
    return entry if sound and isinstance(entry.bytes, int) else None


def _is_cut_off(line: str) -> bool:
    """Whether a last line without its end is one that an interruption cut off."""
    return line.startswith(_START[: len(line)]) and _entry(line) is None


def read(file: Path) -> dict[str, Sent]:
    """The manifest in `file`; see `parse`.

    Raises:
        ManifestError: the file is no manifest, or not there.
    """
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError:
        raise ManifestError(f"{file} is no manifest of a submission.") from None
    except FileNotFoundError:
        raise ManifestError(f"There is no manifest {file}.") from None


class Manifest:
    """A manifest that is being written. Thread-safe; each line is in the file when `add` returns."""

    def __init__(self, file: Path) -> None:
        """Only its owner may read a new file, because it holds file names.

        Raises:
            ManifestError: there is a file, but it is no manifest.
        """
        self.file = file
        self.sent: dict[str, Sent] = {}
        if file.exists():
            self.sent = read(file)
        else:
            file.touch(mode=0o600)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._stream = self.file.open("r+", encoding="utf-8", newline="\n")
        text = self._stream.read()
        whole = text.rfind("\n") + 1
        if text[whole:]:
            if _is_cut_off(text[whole:]):
                self._stream.truncate(len(text[:whole].encode()))
            else:
                self._stream.write("\n")
        self._stream.close()
        self._stream = self.file.open("a", encoding="utf-8", newline="\n")
        return self

    def add(self, sent: Sent) -> None:
        """Appends a line."""
        with self._lock:
            self._stream.write(sent.line())
            self._stream.flush()
            self.sent[sent.file] = sent

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
