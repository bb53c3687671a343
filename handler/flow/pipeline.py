"""Many uploads at a time: threads fetch and decode, the network runs in this thread, other threads write.

The network runs on whatever has been decoded when it becomes free, at most one image for each core. Each image is a
run of its own, so more of them together would be no faster, and would take longer than the time reserved for them at
the end of the invocation. No more images are fetched ahead than keep the network busy, so the settings bound the
memory, not the size of the batch.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

from handler.errors import TryAgainError
from handler.flow.invocation import Threads
from handler.flow.stages import OUT_OF_TIME, Decoded, Outcome
from handler.store.record import Finding
from model_layer import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from handler.flow.invocation import Invocation
    from handler.flow.stages import NearEnd, Stages
    from handler.intake.messages import Upload


class Pipeline:
    """Some uploads of one invocation. Used once."""

    def __init__(self, stages: Stages, invocation: Invocation, near_end: Callable[[Upload], NearEnd | None]) -> None:
        """An upload for which `near_end` is not None leaves a `failed` record when it fails. It still comes again."""
        self._stages = stages
        self._invocation = invocation
        self._near_end = near_end
        self._ahead = invocation.threads + BATCH
        self._fetchers = Threads(invocation.threads, "fetch")
        self._writers = Threads(invocation.threads, "write")
        # Each upload is in one of these places, in this order, or has had its outcome.
        self._waiting: deque[Upload] = deque()
        self._fetching: dict[Future[Decoded | Finding], Upload] = {}
        self._decoded: deque[Decoded] = deque()
        self._findings: deque[Finding] = deque()
        self._writing: dict[Future[Outcome], Finding] = {}

    def run(self, uploads: Collection[Upload]) -> Iterator[Outcome]:
        """Yields one outcome for each of `uploads`, which are distinct, as soon as it is known. Raises for none."""
        self._waiting.extend(uploads)
        return self._outcomes()

    def skip(self, uploads: Collection[Upload], error: TryAgainError) -> Iterator[Outcome]:
        """Begins none of `uploads` and hands them back for `error`; those near their end get their `failed` record."""
        self._findings.extend(Finding(upload, error) for upload in uploads)
        return self._outcomes()

    def _outcomes(self) -> Iterator[Outcome]:
        with self._fetchers, self._writers:
            while self._waiting or self._fetching or self._decoded or self._findings or self._writing:
                if not self._invocation.seconds_to_begin():
                    self._hand_back()
                self._fetch_ahead()
                self._infer()
                yield from self._write_ahead()
                yield from self._collect()

    def _hand_back(self) -> None:
        """Nothing new begins any more; only records that are being written are waited for."""
        self._findings.extend(Finding(upload, OUT_OF_TIME) for upload in (*self._waiting, *self._fetching.values()))
        self._findings.extend(Finding(one.upload, OUT_OF_TIME, one.file, one.timings_ms) for one in self._decoded)
        self._waiting.clear()
        self._fetching.clear()
        self._decoded.clear()

    def _fetch_ahead(self) -> None:
        while self._waiting and len(self._fetching) + len(self._decoded) < self._ahead:
            upload = self._waiting.popleft()
            self._fetching[self._fetchers.submit(self._stages.prepare, upload)] = upload

    def _may_infer(self) -> bool:
        """False while many records wait for the table: what it does not take would be lost with this process."""
        return bool(self._decoded) and len(self._findings) + len(self._writing) < self._ahead

    def _infer(self) -> None:
        if not self._may_infer():
            return
        images = [self._decoded.popleft() for _ in range(min(self._stages.cores, len(self._decoded)))]
        self._findings.extend(self._stages.infer(images))

    def _write_ahead(self) -> Iterator[Outcome]:
        """Hands findings to the writers, at most two for each thread, so that few wait behind a slow table.

        A finding that leaves no record is an outcome at once, so that ten thousand uploads are handed back in time.
        """
        while self._findings and len(self._writing) < 2 * self._invocation.threads:
            finding = self._findings.popleft()
            near_end = self._near_end(finding.upload)
            if isinstance(finding.answer, TryAgainError) and not near_end:
                yield self._stages.conclude(finding, self._invocation, near_end)
            else:
                future = self._writers.submit(self._stages.conclude, finding, self._invocation, near_end)
                self._writing[future] = finding

    def _collect(self) -> Iterator[Outcome]:
        """Waits until a thread has a result, but not while there is something to infer, nor beyond the deadline."""
        begun = bool(self._waiting or self._fetching or self._decoded)  # before collecting empties them
        left = self._invocation.seconds_to_begin() if begun else self._invocation.seconds_to_write()
        pending: list[Future[Any]] = [*self._fetching, *self._writing]
        done, _ = wait(pending, 0 if self._may_infer() else left, return_when=FIRST_COMPLETED)
        for prepared in [fetch for fetch in self._fetching if fetch in done]:
            del self._fetching[prepared]
            result = prepared.result()
            if isinstance(result, Decoded):
                self._decoded.append(result)
            else:
                self._findings.append(result)
        for written in [write for write in self._writing if write in done]:
            del self._writing[written]
            yield written.result()
        if not begun and not left:
            yield from self._give_up()

    def _give_up(self) -> Iterator[Outcome]:
        """No time is left to write; answers are kept in case their uploads come back to this process."""
        for finding in [*self._writing.values(), *self._findings]:
            error = finding.answer if isinstance(finding.answer, TryAgainError) else OUT_OF_TIME
            if error is not finding.answer:
                self._stages.unwritten.keep(finding)
            yield Outcome(finding.upload, error=error, reasons=(error.code,), timings_ms=finding.timings_ms)
        self._writing.clear()
        self._findings.clear()
