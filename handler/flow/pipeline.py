"""The overlapped way of a batch: fetch and decode in threads, run the network here, write in threads.

The network runs on whatever has been decoded by the time that it is free, up to an image for each core. Each image is a
run of its own, so more together would be no faster, and would take longer than the time that is kept for them at the
end. No more images are fetched ahead than keep it busy, so that the settings bound the memory, not the batch.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from handler.aws import Patience
from handler.errors import TryAgainError
from handler.flow.stages import Decoded, Outcome
from handler.store.record import Finding
from model_layer import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from handler.flow.invocation import Deadline
    from handler.flow.stages import NearEnd, Stages
    from handler.intake.messages import Upload

OUT_OF_TIME = TryAgainError("out_of_time", "The invocation ran out of time before this upload was done.")


class Pipeline:
    """The uploads of one invocation on their way. Used once."""

    def __init__(
        self,
        stages: Stages,
        threads: int,
        deadline: Deadline,
        request_id: str,
        near_end: Callable[[Upload], NearEnd | None] = lambda _: None,
    ) -> None:
        """`threads` fetch at a time, and as many write.

        An upload that is `near_end` leaves a `failed` record when it fails; it is an error all the same.
        """
        self._stages = stages
        self._threads = threads
        self._deadline = deadline
        self._patience = Patience(deadline.seconds_to_write)
        self._request_id = request_id
        self._near_end = near_end
        self._fetchers = ThreadPoolExecutor(threads, "fetch")
        self._writers = ThreadPoolExecutor(threads, "write")
        # Where the uploads are. Each is in one of these places, or has had its outcome.
        self._waiting: deque[Upload] = deque()
        self._fetching: dict[Future[Decoded | Finding], Upload] = {}
        self._decoded: deque[Decoded] = deque()
        self._found: deque[Finding] = deque()
        self._writing: dict[Future[Outcome], Finding] = {}

    def run(self, uploads: Collection[Upload]) -> Iterator[Outcome]:
        """One outcome for each of `uploads`, which are distinct, as it comes about; no exception for any of them."""
        self._waiting.extend(uploads)
        return self._outcomes()

    def refuse(self, uploads: Collection[Upload], error: TryAgainError) -> Iterator[Outcome]:
        """Begins none of `uploads`; those near their end get their `failed` record."""
        self._found.extend(Finding(upload, error) for upload in uploads)
        return self._outcomes()

    def _outcomes(self) -> Iterator[Outcome]:
        try:
            while self._waiting or self._fetching or self._decoded or self._found or self._writing:
                if not self._deadline.seconds_to_begin():
                    self._hand_back()
                self._fetch_ahead()
                self._infer()
                yield from self._write_ahead()
                yield from self._collect()
        finally:
            # Stragglers are left to themselves: what they may still write is right, and the retry will find it.
            self._fetchers.shutdown(wait=False, cancel_futures=True)
            self._writers.shutdown(wait=False, cancel_futures=True)

    def _hand_back(self) -> None:
        """Nothing new begins any more; only records that are being written are waited for."""
        self._found.extend(Finding(upload, OUT_OF_TIME) for upload in (*self._waiting, *self._fetching.values()))
        self._found.extend(Finding(one.upload, OUT_OF_TIME, one.file, one.timings_ms) for one in self._decoded)
        self._waiting.clear()
        self._fetching.clear()
        self._decoded.clear()

    def _fetch_ahead(self) -> None:
        while self._waiting and len(self._fetching) + len(self._decoded) < self._threads + BATCH:
            upload = self._waiting.popleft()
            self._fetching[self._fetchers.submit(self._stages.prepare, upload)] = upload

    def _may_infer(self) -> bool:
        """What the table does not take is not worth inferring yet, and would be lost with this process."""
        return bool(self._decoded) and len(self._found) + len(self._writing) < self._threads + BATCH

    def _infer(self) -> None:
        if not self._may_infer():
            return
        batch = [self._decoded.popleft() for _ in range(min(self._stages.cores, len(self._decoded)))]
        self._found.extend(self._stages.infer(batch))

    def _write_ahead(self) -> Iterator[Outcome]:
        """What leaves no record is an outcome already; of the rest, a little more is under way than there are threads.

        So an event of ten thousand uploads is handed back in time, and its records do not pile up behind a slow table.
        """
        while self._found and len(self._writing) < 2 * self._threads:
            finding = self._found.popleft()
            near_end = self._near_end(finding.upload)
            if isinstance(finding.answer, TryAgainError) and not near_end:
                yield self._stages.conclude(finding, self._request_id)
                continue
            future = self._writers.submit(
                self._stages.conclude, finding, self._request_id, near_end=near_end, patience=self._patience
            )
            self._writing[future] = finding

    def _collect(self) -> Iterator[Outcome]:
        """Waits until a thread has something, but not while there is something to infer, nor beyond the deadline."""
        begun = bool(self._waiting or self._fetching or self._decoded)  # as it is now: collecting empties them
        patience = self._deadline.seconds_to_begin() if begun else self._deadline.seconds_to_write()
        pending: list[Future[Any]] = [*self._fetching, *self._writing]
        done, _ = wait(pending, 0 if self._may_infer() else patience, return_when=FIRST_COMPLETED)
        for prepared in [fetch for fetch in self._fetching if fetch in done]:
            del self._fetching[prepared]
            result = prepared.result()
            if isinstance(result, Decoded):
                self._decoded.append(result)
            else:
                self._found.append(result)
        for written in [write for write in self._writing if write in done]:
            del self._writing[written]
            yield written.result()
        if not begun and not patience:
            yield from self._give_up()

    def _give_up(self) -> Iterator[Outcome]:
        """No time to write what is left: its answers are kept for the case that it comes back to this process."""
        for finding in [*self._writing.values(), *self._found]:
            error = finding.answer if isinstance(finding.answer, TryAgainError) else OUT_OF_TIME
            if error is not finding.answer:
                self._stages.handed_back.keep(finding)
            yield Outcome(finding.upload, error=error, reasons=(error.code,), timings_ms=finding.timings_ms)
        self._writing.clear()
        self._found.clear()
