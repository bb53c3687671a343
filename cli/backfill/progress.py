"""How far a backfill has come, in a file, so that it can be stopped at any moment and started again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from cli.backfill.objects import Place

if TYPE_CHECKING:
    from pathlib import Path


class ProgressError(RuntimeError):
    """The file is of another backfill, or can't be read. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything before `place` has been sent, `sent` messages, but for `archived` objects that cannot be read."""

    bucket: str
    prefix: str
    place: Place = field(default_factory=Place)
    sent: int = 0
    archived: int = 0

    def save(self, file: Path) -> None:
        """Whole or not at all. Only its owner may read it, as it holds a key."""
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        unfinished.replace(file)


def load(file: Path, bucket: str, prefix: str) -> Progress:
    """What `file` says, or a beginning where there is none."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        progress = Progress(
            held["bucket"], held["prefix"], Place(**held["place"]), int(held["sent"]), int(held.get("archived", 0))
        )
    except FileNotFoundError:
        return Progress(bucket, prefix)
    except (ValueError, KeyError, TypeError) as error:
        raise ProgressError(f"{file} can't be read; --restart begins anew.") from error
    if (progress.bucket, progress.prefix) != (bucket, prefix):
        raise ProgressError(f"{file} is of another backfill; give --state another file, or --restart.")
    return progress
