"""The lines that requests wait in: in front of the classifier, of the store, and of the bucket.

Each has some threads, and a bounded number of requests that wait for one. In front of the classifier there are as many
threads as cores, for requests share one network: each image is decoded and run in one thread, on one core. A run over
several images together is no faster on this network (docs/performance.md), and would make the first of them wait for
the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from api.problems import busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

T = TypeVar("T")

_LONGEST_RETRY = 60


class Line:
    """Places for requests, and the threads that serve them. Used from one event loop."""

    def __init__(self, threads: int, waiting: int, doing: str = "images are being classified") -> None:
        """`doing`: what there are too many of where every place is taken."""
        self._doing = doing
        self._threads = threads
        self._places = threads + waiting
        self._taken = 0
        self._pool = ThreadPoolExecutor(threads, "line")
        self._seconds = 0.1
        """What one piece of work takes, as a moving average."""

    @property
    def taken(self) -> int:
        """How many requests have a place now."""
        return self._taken

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place, from before the body is read to the answer: so places bound the memory too.

        Raises:
            Problem: 503 with Retry-After; every place is taken.
        """
        if self._taken >= self._places:
            seconds = max(1, min(_LONGEST_RETRY, math.ceil(self._taken * self._seconds / self._threads)))
            raise busy("busy", f"Too many {self._doing}; try again in a moment.", seconds)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def run(self, work: Callable[[], T], request: Request) -> T:
        """`work()` in a thread, when one is free. Work that has not begun is dropped when the client leaves.

        Raises:
            ClientDisconnect: the client of `request`, whose body has been read, is gone.
        """
        job = self._pool.submit(self._timed, work)
        working = asyncio.wrap_future(job)
        leaving = asyncio.create_task(_leaves(request))
        try:
            either: set[asyncio.Future[Any]] = {working, leaving}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            return working.result()
        finally:
            job.cancel()  # at once, not when the loop comes to it
            working.cancel()  # nobody asks for its result any more
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving

    def close(self) -> None:
        """Waits for work that has begun, drops the rest."""
        self._pool.shutdown(cancel_futures=True)

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += 0.1 * (time.perf_counter() - started - self._seconds)


async def _leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
