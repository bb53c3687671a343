"""The overlapped way of a batch: fetch and decode in threads, run the network here, write in threads.

The network runs on whatever has been decoded by the time that it is free, up to a micro-batch. It never waits for a
full one, which is hardly faster per image. No more images are fetched ahead than keep it busy, so that the settings
bound the memory, not the batch.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from handler.errors import TryAgainError
from handler.record import Finding
from handler.stages import Decoded, Outcome, try_again
from model_layer import BATCH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from handler.deadline import Deadline
    from handler.events import Upload
    from handler.stages import Stages

_OUT_OF_TIME = TryAgainError("out_of_time", "The invocation ran out of time before this upload was done.")


class Pipeline:
    """The uploads of one invocation on their way. Used once."""

    def __init__(
        self, stages: Stages, threads: int, deadline: Deadline, request_id: str, last_chance: Collection[Upload] = ()
    ) -> None:
        """`threads` fetch at a time, and as many write.

        An upload of `last_chance` that fails leaves a `failed` record; it is an error all the same.
        """
        self._stages = stages
        self._threads = threads
        self._deadline = deadline
        self._request_id = request_id
        self._last_chance = frozenset(last_chance)
        self._fetchers = ThreadPoolExecutor(threads, "fetch")
        self._writers = ThreadPoolExecutor(threads, "write")
        # Where the uploads are. Each is in one of these places, or has had its outcome.
        self._waiting: deque[Upload] = deque()
        self._fetching: dict[Future[Decoded | Finding], Upload] = {}
        self._decoded: deque[Decoded] = deque()
        self._writing: dict[Future[Outcome], Upload] = {}

    def run(self, uploads: Collection[Upload]) -> Iterator[Outcome]:
        """One outcome for each of `uploads`, which are distinct, as it comes about; no exception for any of them."""
        try:
            yield from self._skip_finished(uploads)
            while self._waiting or self._fetching or self._decoded or self._writing:
                if not self._deadline.seconds_to_begin():
                    self._hand_back()
                self._fetch_ahead()
                self._infer()
                yield from self._collect()
        finally:
            # Stragglers are left to themselves: what they may still write is right, and the retry will find it.
            self._fetchers.shutdown(wait=False, cancel_futures=True)
            self._writers.shutdown(wait=False, cancel_futures=True)

    def _skip_finished(self, uploads: Collection[Upload]) -> Iterator[Outcome]:
        try:
            finished = self._stages.finished(uploads)
        except Exception as error:  # noqa: BLE001 (a table that cannot be read will not be written either)
            for upload in uploads:
                self._conclude(Finding(upload, try_again(error)))
            return
        for upload in uploads:
            if upload in finished:
                yield Outcome(upload)
            else:
                self._waiting.append(upload)

    def _hand_back(self) -> None:
        """Nothing new begins any more; only records that are being written are waited for."""
        unfinished = [*self._waiting, *self._fetching.values(), *(decoded.upload for decoded in self._decoded)]
        self._waiting.clear()
        self._fetching.clear()
        self._decoded.clear()
        for upload in unfinished:
            self._conclude(Finding(upload, _OUT_OF_TIME))

    def _fetch_ahead(self) -> None:
        while self._waiting and len(self._fetching) + len(self._decoded) < self._threads + BATCH:
            upload = self._waiting.popleft()
            self._fetching[self._fetchers.submit(self._stages.prepare, upload)] = upload

    def _infer(self) -> None:
        batch = [self._decoded.popleft() for _ in range(min(BATCH, len(self._decoded)))]
        for finding in self._stages.infer(batch) if batch else ():
            self._conclude(finding)

    def _conclude(self, finding: Finding) -> None:
        last_chance = finding.upload in self._last_chance
        future = self._writers.submit(self._stages.conclude, finding, self._request_id, last_chance=last_chance)
        self._writing[future] = finding.upload

    def _collect(self) -> Iterator[Outcome]:
        """Waits until a thread has something, but not while there is something to infer, nor beyond the deadline."""
        begun = self._waiting or self._fetching or self._decoded
        patience = self._deadline.seconds_to_begin() if begun else self._deadline.seconds_to_finish()
        pending: list[Future[Any]] = [*self._fetching, *self._writing]
        done, _ = wait(pending, 0 if self._decoded else patience, return_when=FIRST_COMPLETED)
        for prepared in [fetch for fetch in self._fetching if fetch in done]:
            del self._fetching[prepared]
            result = prepared.result()
            if isinstance(result, Decoded):
                self._decoded.append(result)
            else:
                self._conclude(result)
        for written in [write for write in self._writing if write in done]:
            del self._writing[written]
            yield written.result()
        if not begun and not patience:
            yield from (Outcome(upload, error=_OUT_OF_TIME) for upload in self._writing.values())
            self._writing.clear()
