"""What is done with one upload, stage by stage. Nothing here raises: an error becomes the upload's own answer.

So it touches no other upload of the batch. `Stages.states`, which is about all of them at once, `Stages.begin`, before
which nothing is done, and `Stages.withdraw`, after which nothing is, are the exceptions.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from handler.aws import IMPATIENT, Patience
from handler.errors import RefusedError, SupersededError, TryAgainError
from handler.store.record import FileFacts, Finding, build_record, record_key
from model_layer import Rejection

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from handler.flow.fetching import ImageStore
    from handler.intake.messages import Upload
    from handler.store.table import PredictionsTable, State
    from model_layer import Classifier, DecodedImage, Prediction

_BEFORE_THE_LAST = 10.0
"""Seconds that the last receive but one waits for a table that does not take its `failed` record."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upload that is ready for the network."""

    upload: Upload
    image: DecodedImage
    file: FileFacts
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one upload in this invocation."""

    upload: Upload
    status: str | None = None
    """Of the record that was to be written; None when none was, because of an error or of one that is final."""
    written: bool = False
    """False also when a record that stands was there already."""
    error: TryAgainError | None = None
    """Why the upload must come again; None when it is done."""
    reasons: tuple[str, ...] = ()
    """The codes of why it was referred, rejected, superseded or failed."""
    timings_ms: dict[str, float] = field(default_factory=dict)
    """By stage: `fetch`, `decode`, `infer`, `write`, as far as the upload came."""
    erased: bool = False
    """Whether its record was erased again at once, because the object had been deleted meanwhile."""

    @property
    def unbegun(self) -> bool:
        """Whether it was handed back for want of time, before it was fetched, and without a record."""
        return bool(self.error) and self.reasons == ("out_of_time",) and not self.timings_ms and not self.status


@dataclass(frozen=True, slots=True)
class NearEnd:
    """Of an upload on its message's last receive, or the one before: if it fails, its record is to say so."""

    last: bool
    """Whether no receive is left after this one."""
    attempts: int | None
    """How often it was tried alone without a word back, which its record keeps; None where that is not known."""


UNFINISHED = TryAgainError(
    "unfinished",
    "A worker took up this upload and has not reported back; its process may have been killed, or run out of time.",
)


class Stages:
    """The stages over one bucket reader, one model and one table. Thread-safe."""

    def __init__(self, store: ImageStore, classifier: Classifier, table: PredictionsTable, cores: int) -> None:
        self._store = store
        self._classifier = classifier
        self._table = table
        self.cores = cores
        """As many images are decoded at a time, and as many are in the network."""
        self.handed_back = HandedBack()
        # Decoding is bound by the cores, and a large image takes hundreds of MB: one decoder for each core.
        self._decoding = BoundedSemaphore(cores)

    def states(self, uploads: Collection[Upload], patience: Patience) -> dict[Upload, State]:
        """What earlier deliveries left in the table under this model, for those of `uploads` that they came to.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        version = self._classifier.bundle.version
        keys = {upload: record_key(upload, version) for upload in uploads}
        found = self._table.states(keys.values(), patience)
        return {upload: found[key] for upload, key in keys.items() if key in found}

    def begin(self, upload: Upload, attempts: int, request_id: str, patience: Patience) -> bool:
        """Records, before an attempt that might end this process, that it was begun: `failed`, until it reports back.

        Tells whether that was written; otherwise a record that stands is there already.

        Raises:
            TryAgainError: the table cannot be written now, so the attempt must not be made.
        """
        record = build_record(Finding(upload, UNFINISHED), self._classifier.bundle, request_id)
        return self._table.put(record, attempts=attempts, patience=patience)

    def withdraw(self, upload: Upload, request_id: str) -> None:
        """The attempt has reported back, with an error: takes back what `begin` wrote.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        self._table.withdraw(record_key(upload, self._classifier.bundle.version), request_id)

    def prepare(self, upload: Upload) -> Decoded | Finding:
        """Fetches and decodes: to pixels, or to the end of this upload's way."""
        if found := self.handed_back.finding(upload):
            return found
        file, timings = FileFacts(), dict[str, float]()
        try:
            started = time.perf_counter()
            download = self._store.fetch(upload)
            file, content = download.facts, download.content
            timings["fetch"] = _ms_since(started)
            if isinstance(content, Rejection):
                return Finding(upload, content, file, timings)
            with self._decoding:
                started = time.perf_counter()
                image = self._classifier.decode(content)
                timings["decode"] = _ms_since(started)
        except Exception as error:  # noqa: BLE001 (see `_answer`)
            return Finding(upload, _answer(error), file, timings)
        if isinstance(image, Rejection):
            return Finding(upload, image, file, timings)
        return Decoded(upload, image, file, timings)

    def infer(self, batch: Sequence[Decoded]) -> list[Finding]:
        """Runs the network over a few images, at most one for each core."""
        started = time.perf_counter()
        answers = self._predict(batch)
        share = _ms_since(started) / len(batch)
        return [
            Finding(decoded.upload, answer, decoded.file, {**decoded.timings_ms, "infer": share})
            for decoded, answer in zip(batch, answers, strict=True)
        ]

    def conclude(
        self, finding: Finding, request_id: str, *, near_end: NearEnd | None = None, patience: Patience = IMPATIENT
    ) -> Outcome:
        """Writes the record of what was found; of what failed, only near the end of its message's receives."""
        error = finding.answer if isinstance(finding.answer, TryAgainError) else None
        if error is None:
            try:
                return self._write(finding, request_id, patience)
            except Exception as raised:  # noqa: BLE001 (see `_answer`)
                error = try_again(raised)
                self.handed_back.keep(finding)
        handed_back = Outcome(finding.upload, error=error, reasons=(error.code,), timings_ms=finding.timings_ms)
        if near_end:
            with suppress(Exception):  # what is left then is the next receive, or the dead-letter queue
                return self._leave_failed(finding, handed_back, request_id, near_end, patience)
        return handed_back

    def _leave_failed(
        self, finding: Finding, handed_back: Outcome, request_id: str, near_end: NearEnd, patience: Patience
    ) -> Outcome:
        """Writes the `failed` record, whatever failed before; on the last receive with all the time that is left.

        Where the table takes it then, the answer that it had refused is tried once more.
        """
        failed = replace(finding, answer=handed_back.error or UNFINISHED)
        wait = patience.endless() if near_end.last else patience.endless(_BEFORE_THE_LAST)
        written = self._write(failed, request_id, wait, near_end.attempts)
        if not near_end.last:
            return handed_back  # it comes again, so nothing is counted as failed yet
        if finding.answer is not failed.answer:
            with suppress(Exception):
                return self._write(finding, request_id, patience)
        return replace(written, error=handed_back.error)

    def _write(self, finding: Finding, request_id: str, patience: Patience, attempts: int | None = 0) -> Outcome:
        started = time.perf_counter()
        record = build_record(finding, self._classifier.bundle, request_id)
        written = self._table.put(record, attempts=attempts, patience=patience)
        timings = {**finding.timings_ms, "write": _ms_since(started)}
        codes = tuple(reason["code"] for reason in record["reasons"])
        return Outcome(finding.upload, finding.status, written=written, reasons=codes, timings_ms=timings)

    def _predict(self, batch: Sequence[Decoded]) -> Sequence[Prediction | TryAgainError]:
        """Where the run over all fails, each image runs alone, so that one does not fail its neighbours."""
        try:
            return self._classifier.predict([decoded.image for decoded in batch])
        except Exception as error:  # noqa: BLE001 (see `_answer`)
            if len(batch) == 1:
                return [try_again(error)]
            return [self._predict([decoded])[0] for decoded in batch]


def _answer(error: Exception) -> SupersededError | RefusedError | TryAgainError:
    """Any error as the answer of the upload that it struck."""
    return error if isinstance(error, SupersededError | RefusedError) else try_again(error)


def try_again(error: Exception) -> TryAgainError:
    """Any error as one that hands its message back; an unforeseen one keeps its cause for the log."""
    if isinstance(error, TryAgainError):
        return error
    if isinstance(error, MemoryError):
        return TryAgainError("out_of_memory", "The worker was short of memory; that says nothing of the image.")
    unforeseen = TryAgainError("internal_error", f"The worker met an unforeseen {type(error).__name__}.")
    unforeseen.__cause__ = error
    return unforeseen


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


MOST = 2000
"""Findings kept, the latest ones; each takes about 3 KB."""


class HandedBack:
    """Thread-safe."""

    def __init__(self) -> None:
        self._findings: OrderedDict[Upload, Finding] = OrderedDict()
        self._lock = Lock()

    def keep(self, finding: Finding) -> None:
        """Holds an answer that could not be written."""
        with self._lock:
            self._findings[finding.upload] = finding
            self._findings.move_to_end(finding.upload)
            if len(self._findings) > MOST:
                self._findings.popitem(last=False)

    def finding(self, upload: Upload) -> Finding | None:
        """Such an answer, if there is one; it is given once."""
        with self._lock:
            return self._findings.pop(upload, None)
