"""The stages of one upload: prepare (fetch and decode), infer, conclude (write).

These three never raise. An error becomes the finding of the upload that it struck, so that it touches no other upload
of the batch. `states`, `announce` and `withdraw` do raise: they talk to the table before and after these stages.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from handler.errors import ErrorCode, RefusedError, SupersededError, TryAgainError
from handler.intake.messages import Upload
from handler.store.record import FileFacts, Finding, build_record, record_key
from model_layer import Rejection

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from handler.aws import Patience
    from handler.flow.fetching import BucketReader
    from handler.flow.invocation import Invocation
    from handler.store.table import PredictionsTable, State
    from model_layer import Classifier, DecodedImage, Prediction, Status

_PATIENCE_BEFORE_THE_LAST_S = 10.0
"""How long the receive before the last repeats a `failed` record that the table does not take."""
_MOST_UNWRITTEN = 2000
"""Findings kept for uploads that come back, about 3 KB each."""

OUT_OF_TIME = TryAgainError(ErrorCode.OUT_OF_TIME, "The invocation ran out of time before this upload was done.")

_NO_OBJECT = "dermbatch/check"
"""A key that no upload has."""

UNFINISHED = TryAgainError(
    ErrorCode.UNFINISHED,
    "A worker took up this upload and has not reported back; its process may have been killed, or run out of time.",
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upload that is ready for the network."""

    upload: Upload
    pixels: DecodedImage
    file: FileFacts
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one upload in this invocation."""

    upload: Upload
    status: Status | None = None
    """Of the record made for it; None if none was made, because of an error or because a final one exists."""
    written: bool = False
    """Whether that record was written. It is not where a record exists that does not give way to it."""
    error: TryAgainError | None = None
    """Why the upload must come again; None when it is done."""
    reasons: tuple[str, ...] = ()
    """The codes of why it was referred, rejected, superseded or failed."""
    timings_ms: dict[str, float] = field(default_factory=dict)
    """By stage: `fetch`, `decode`, `infer`, `write`, as far as the upload came."""
    removed: bool = False
    """Whether its object may have been removed before it was recorded, so that the housekeeper is told to look."""

    @property
    def unbegun(self) -> bool:
        """Whether it was handed back for lack of time before it was fetched, and without a record."""
        out_of_time = bool(self.error) and self.reasons == (ErrorCode.OUT_OF_TIME,)
        return out_of_time and not self.timings_ms and not self.status


@dataclass(frozen=True, slots=True)
class NearEnd:
    """For an upload on the last receive of its message, or the one before: if it fails, its record must say so."""

    last: bool
    """Whether no receive is left after this one."""
    attempts: int | None
    """How many attempts on it alone have not reported back, which its record keeps; None where that is unknown."""


class Unwritten:
    """Findings that the table did not take, kept in case their uploads return to this process. Thread-safe.

    They save a second inference. No answer depends on them.
    """

    def __init__(self) -> None:
        self._findings: OrderedDict[Upload, Finding] = OrderedDict()
        self._lock = Lock()

    def keep(self, finding: Finding) -> None:
        """Keeps `finding`, and forgets the oldest one where there are too many."""
        with self._lock:
            self._findings[finding.upload] = finding
            self._findings.move_to_end(finding.upload)
            if len(self._findings) > _MOST_UNWRITTEN:
                self._findings.popitem(last=False)

    def take(self, upload: Upload) -> Finding | None:
        """The finding of `upload`, if it is here; it is given once."""
        with self._lock:
            return self._findings.pop(upload, None)


class Stages:
    """The stages over one bucket reader, one model and one table. Thread-safe."""

    def __init__(self, reader: BucketReader, classifier: Classifier, table: PredictionsTable, cores: int) -> None:
        self._reader = reader
        self._classifier = classifier
        self._table = table
        self.cores = cores
        """The number of images that are decoded at a time, and that are in the network at a time."""
        self.unwritten = Unwritten()
        # Decoding is bound by the cores, and a large image takes hundreds of MB: one decoder for each core.
        self._decoding = BoundedSemaphore(cores)

    @property
    def model_version(self) -> str:
        """Of the bundle that answers."""
        return self._classifier.bundle.version

    def problems(self, bucket: str | None) -> list[str]:
        """Why a worker should get no uploads: its answer departs from the stated one, or table or bucket give none."""
        from model_layer.known_answer import departure  # noqa: PLC0415 (once before a worker gets uploads, if at all)

        nothing = Upload(bucket or "", _NO_OBJECT, None, None, None)
        found = [problem] if (problem := departure(self._classifier)) else []
        try:
            self._table.states([record_key(nothing, self.model_version)])
            if bucket:
                self._reader.fetch(nothing)
        except (SupersededError, RefusedError):
            pass  # the bucket answers about the object, so it can be read
        except TryAgainError as error:
            found.append(error.sentence)
        return found

    def states(self, uploads: Collection[Upload], invocation: Invocation) -> dict[Upload, State]:
        """The states of those of `uploads` that have a record under this model.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        keys = {upload: record_key(upload, self.model_version) for upload in uploads}
        found = self._table.states(keys.values(), invocation.patience)
        return {upload: found[key] for upload, key in keys.items() if key in found}

    def announce(self, upload: Upload, attempts: int, invocation: Invocation) -> bool:
        """Writes a `failed` record before an attempt that may end this process. The attempt's own record replaces it.

        Returns whether that was written. It is not where a record exists that does not give way to `failed`.

        Raises:
            TryAgainError: the table cannot be written now, so the attempt must not be made.
        """
        record = build_record(Finding(upload, UNFINISHED), self._classifier.bundle, invocation.request_id)
        return self._table.put(record, attempts=attempts, patience=invocation.patience)

    def withdraw(self, upload: Upload, error: TryAgainError, attempts: int, invocation: Invocation) -> None:
        """Takes back what `announce` has counted, because the attempt has reported back with `error`.

        The record stays, and says so, unless another invocation has replaced it.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        record = build_record(Finding(upload, error), self._classifier.bundle, invocation.request_id)
        self._table.replace_own(record, attempts=attempts)

    def prepare(self, upload: Upload) -> Decoded | Finding:
        """Fetches and decodes. Returns a finding if that already settles what becomes of the upload."""
        if finding := self.unwritten.take(upload):
            return finding
        file, timings = FileFacts(), dict[str, float]()
        try:
            started = time.perf_counter()
            content, file = self._reader.fetch(upload)
            timings["fetch"] = _ms_since(started)
            if isinstance(content, Rejection):
                return Finding(upload, content, file, timings)
            with self._decoding:
                started = time.perf_counter()
                pixels = self._classifier.decode(content)
                timings["decode"] = _ms_since(started)
        except (SupersededError, RefusedError) as answer:
            return Finding(upload, answer, file, timings)
        except Exception as error:  # noqa: BLE001 (see the module's docstring)
            return Finding(upload, try_again(error), file, timings)
        if isinstance(pixels, Rejection):
            return Finding(upload, pixels, file, timings)
        return Decoded(upload, pixels, file, timings)

    def infer(self, images: Sequence[Decoded]) -> list[Finding]:
        """Runs the network over a few images, at most one for each core."""
        started = time.perf_counter()
        answers = self._predict(images)
        share = _ms_since(started) / len(images)
        return [
            Finding(decoded.upload, answer, decoded.file, {**decoded.timings_ms, "infer": share})
            for decoded, answer in zip(images, answers, strict=True)
        ]

    def conclude(self, finding: Finding, invocation: Invocation, near_end: NearEnd | None) -> Outcome:
        """Writes the record of `finding`. An error gets a record only on the last two receives."""
        error = finding.answer if isinstance(finding.answer, TryAgainError) else None
        if error is None:
            try:
                return self._write(finding, invocation, invocation.patience)
            except Exception as raised:  # noqa: BLE001 (see the module's docstring)
                error = try_again(raised)
                self.unwritten.keep(finding)
        handed_back = Outcome(finding.upload, error=error, reasons=(error.code,), timings_ms=finding.timings_ms)
        if near_end:
            with suppress(Exception):  # nothing more can be done until the next receive or a redrive
                return self._leave_failed(finding, handed_back, invocation, near_end)
        return handed_back

    def _leave_failed(
        self, finding: Finding, handed_back: Outcome, invocation: Invocation, near_end: NearEnd
    ) -> Outcome:
        """Writes the `failed` record, and repeats after any error; on the last receive for all the time that is left.

        If the table takes it at last, an answer that could not be written before is written now, if that works.
        """
        failed = replace(finding, answer=handed_back.error or UNFINISHED)
        patience = invocation.patience.stubborn(math.inf if near_end.last else _PATIENCE_BEFORE_THE_LAST_S)
        written = self._write(failed, invocation, patience, near_end.attempts)
        if not near_end.last:
            return handed_back  # it comes again, so it does not count as failed yet
        if finding.answer is not failed.answer:
            with suppress(Exception):
                return self._write(finding, invocation, invocation.patience)
        return replace(written, error=handed_back.error)

    def _write(self, finding: Finding, invocation: Invocation, patience: Patience, attempts: int | None = 0) -> Outcome:
        started = time.perf_counter()
        record = build_record(finding, self._classifier.bundle, invocation.request_id)
        written = self._table.put(record, attempts=attempts, patience=patience)
        timings = {**finding.timings_ms, "write": _ms_since(started)}
        codes = tuple(reason["code"] for reason in record["reasons"])
        return Outcome(finding.upload, finding.status, written=written, reasons=codes, timings_ms=timings)

    def _predict(self, images: Sequence[Decoded]) -> Sequence[Prediction | TryAgainError]:
        """If the run over all of them fails, each image is run by itself, so that one does not fail its neighbours."""
        try:
            return self._classifier.predict([decoded.pixels for decoded in images])
        except Exception as error:  # noqa: BLE001 (see the module's docstring)
            if len(images) == 1:
                return [try_again(error)]
            return [self._predict([decoded])[0] for decoded in images]


def try_again(error: Exception) -> TryAgainError:
    """Any error as one that hands its message back. An unforeseen one keeps its cause for the log."""
    if isinstance(error, TryAgainError):
        return error
    if isinstance(error, MemoryError):
        return TryAgainError(
            ErrorCode.OUT_OF_MEMORY, "The worker was short of memory; that says nothing about the image."
        )
    unforeseen = TryAgainError(ErrorCode.INTERNAL_ERROR, f"The worker met an unforeseen {type(error).__name__}.")
    unforeseen.__cause__ = error
    return unforeseen


def in_time_or_again(error: Exception) -> TryAgainError:
    """The same for a call within a given time (`handler.flow.invocation`), whose TimeoutError says that it is over."""
    return OUT_OF_TIME if isinstance(error, TimeoutError) else try_again(error)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
