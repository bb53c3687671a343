"""How long an invocation may still work.

A Lambda that times out reports nothing, and all of its messages come back, also those that were done. So no new work
is begun in the last seconds, and what is not finished shortly before the end is handed back by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# One run of the network on each core, 0.8 s on a vCPU without 8-bit multiply-add and 1.4 s with the least `MemorySize`,
# and the writing of its records, a throttled write's retries included.
WORK_RESERVE_S = 6.0
# A look at whether what was recorded has been deleted meanwhile, after the last record is written.
CHECK_RESERVE_S = 2.0
# Logs, metrics and the response.
ANSWER_RESERVE_S = 1.0


class Deadline:
    """Counts down to three moments; a function with a short timeout keeps a share of it instead of full reserves."""

    def __init__(self, remaining_ms: Callable[[], int]) -> None:
        """`remaining_ms` is the context's `get_remaining_time_in_millis`."""
        self._remaining_ms = remaining_ms
        given = remaining_ms() / 1000
        self._work_reserve = min(WORK_RESERVE_S, given / 3)
        self._check_reserve = min(CHECK_RESERVE_S, given / 5)
        self._answer_reserve = min(ANSWER_RESERVE_S, given / 10)

    def seconds_to_begin(self) -> float:
        """Until no new work may begin; 0 from then on."""
        return max(0.0, self._remaining_ms() / 1000 - self._work_reserve)

    def seconds_to_write(self) -> float:
        """Until a record that is not written yet is given up; 0 from then on."""
        return max(0.0, self._remaining_ms() / 1000 - self._check_reserve)

    def seconds_to_finish(self) -> float:
        """Until all else is given up; 0 from then on."""
        return max(0.0, self._remaining_ms() / 1000 - self._answer_reserve)
