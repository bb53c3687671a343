"""One invocation: how long it may still work, its request id, and how many threads it may use.

A Lambda that times out reports nothing, and all of its messages come back, even those that are done. So no new work
begins in the last seconds, and what is unfinished shortly before the end is handed back:

    ├────── new work may begin ──────┤── records are written ──┤─ removals are checked ─┤─ answer ─┤ Lambda's timeout
                                    6 s                       2 s                      1 s        0
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from handler.aws import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# One run of the network on each core (0.8 s on a vCPU without 8-bit multiply-add), then writing its records, including
# the retries of a throttled write.
WORK_RESERVE_S = 6.0
# After the last record is written: reading whether the recorded uploads have been removed meanwhile.
CHECK_RESERVE_S = 2.0
# Logs, metrics and the response.
ANSWER_RESERVE_S = 1.0


class Invocation:
    """Counts down to three moments. A function with a short timeout keeps a share of it instead of full reserves."""

    def __init__(self, remaining_ms: Callable[[], int], request_id: str = "", threads: int = 1) -> None:
        """`remaining_ms` is the context's `get_remaining_time_in_millis`.

        `threads` is the number of uploads that are fetched at a time; as many records are written at a time.
        """
        self.request_id = request_id
        self.threads = threads
        self.patience = Patience(self.seconds_to_write)
        self._remaining_ms = remaining_ms
        given = remaining_ms() / 1000
        self._work_reserve = min(WORK_RESERVE_S, given / 3)
        self._check_reserve = min(CHECK_RESERVE_S, given / 5)
        self._answer_reserve = min(ANSWER_RESERVE_S, given / 10)

    def seconds_to_begin(self) -> float:
        """Seconds until no new work may begin; 0 from then on."""
        return max(0.0, self._remaining_ms() / 1000 - self._work_reserve)

    def seconds_to_write(self) -> float:
        """Seconds until unwritten records are given up; 0 from then on."""
        return max(0.0, self._remaining_ms() / 1000 - self._check_reserve)

    def seconds_to_finish(self) -> float:
        """Seconds until everything else is given up; 0 from then on."""
        return max(0.0, self._remaining_ms() / 1000 - self._answer_reserve)


class Threads(ThreadPoolExecutor):
    """Threads that are never waited for: a request that hangs must not hold up the invocation.

    Calls that are still running at the end go on, and nobody reads their results. What they still write is valid, and
    the next delivery of the message finds it.
    """

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)


def each_within(
    seconds: float, call: Callable[[_Item], _Result], items: Iterable[_Item], threads: int
) -> Iterator[tuple[_Item, _Result | Exception]]:
    """Calls `call(item)` for each item, `threads` at a time, and yields its result or exception, in order.

    After `seconds` no call begins, and one that has not ended is left to itself; the exception of both is a
    TimeoutError.
    """
    end = time.monotonic() + seconds

    def begin(item: _Item) -> _Result:
        if time.monotonic() >= end:
            raise TimeoutError
        return call(item)

    with Threads(threads, "within") as pool:
        pending = [(item, pool.submit(begin, item)) for item in items]
        for item, future in pending:
            try:
                yield item, future.result(max(0.0, end - time.monotonic()))
            except Exception as error:  # noqa: BLE001 (it is this item's own; the others go on)
                yield item, error


def within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """The result of `call()`; raises TimeoutError after `seconds`, or at once if there are none."""
    ((_, result),) = each_within(seconds, lambda _: call(), [None], 1)
    if isinstance(result, Exception):
        raise result
    return result
