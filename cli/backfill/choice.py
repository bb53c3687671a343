"""Which of the bucket's objects a backfill sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from handler.store.objects import sendable
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from handler.store.objects import Current
    from handler.store.table import PredictionsTable
    from handler.store.unrecorded import Comparison


class ChoiceError(UserError):
    """An option names no day."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """What is left out besides archived objects and, where the stack ignores them, system files."""

    since: date | None = None
    """Objects that were uploaded before this day (UTC)."""
    model_version: str | None = None
    """Objects that have a final record under this version of the model."""
    comparison: Comparison | None = None
    """Objects that have a record, or need none yet or any more."""
    system_files: bool = True
    """Whether system files are sent; the worker gives them no record if the stack ignores them."""

    @classmethod
    def of(cls, since: str | None, model_version: str | None) -> Choice:
        """Raises ChoiceError if `since` is no date."""
        try:
            return cls(date.fromisoformat(since) if since else None, model_version or None)
        except ValueError:
            raise ChoiceError(f"--since takes a day such as 2026-11-23, not {since!r}.") from None

    def of_page(self, objects: Sequence[Current], bucket: str, table: PredictionsTable) -> list[Current]:
        """Those of `objects` that are to be sent."""
        found = sendable(objects, system_files=self.system_files)
        if self.since is not None:
            begin = datetime(self.since.year, self.since.month, self.since.day, tzinfo=UTC)
            found = [one for one in found if one.uploaded_at >= begin]
        if self.comparison is not None:
            found = self.comparison.missing(found, bucket, table)
        if self.model_version is None or not found:
            return found
        keys = {one: (f"{bucket}/{one.key}", f"{one.version or one.etag}#{self.model_version}") for one in found}
        states = table.states(keys.values())
        return [one for one in found if not (keys[one] in states and states[keys[one]].final)]
