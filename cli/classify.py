"""Classifies files here and now, without AWS: the same answers and the same record as the worker's."""

from __future__ import annotations

import hashlib
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.files import files_of
from cli.output import Form, Progress, count, say, write_csv, write_json, write_table
from cli.rows import COLUMNS, in_short
from handler.configuration import bundle_folder
from handler.store.record import NOTICE, FileFacts, unstored_record
from model_layer import Classifier, DecodedImage, Rejection, RejectionCode, available_cores
from model_layer.classifier import BATCH
from pictures.names import one_line
from pictures.overlay import overlay_png

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

REJECTED = 1


@dataclass(slots=True)
class _Opened:
    """One file on its way; `content` is empty if it was not read."""

    name: str
    content: bytes
    facts: FileFacts
    decoded: DecodedImage | Rejection
    timings_ms: dict[str, float]


def classify(
    paths: Sequence[Path], bundle: Path | None, pictures: Path | None, form: Form, *, exit_zero: bool = False
) -> int:
    """Prints a row or a record for each file; returns 1 if one was rejected or could not be read.

    `pictures` is a folder for the heat maps.

    Raises:
        UserError: the bundle cannot be used, or there are no files.
    """
    found = files_of(paths)
    classifier = Classifier.load(bundle_folder({"MODEL_BUNDLE": str(bundle or "")}), keep_file=False)
    unread: dict[str, str] = {}
    statuses: list[str] = []
    with Progress("classifying", len(found.files), quiet=len(found.files) <= BATCH) as progress:

        def records() -> Iterator[dict[str, Any]]:
            for record, content in _records(classifier, found.files, unread):
                if pictures and record["heatmap"]:
                    picture = pictures / f"{record['object']['key']}.png"
                    picture.parent.mkdir(parents=True, exist_ok=True)
                    picture.write_bytes(overlay_png(content, record["heatmap"], classifier.limits))
                statuses.append(record["status"])
                progress.advance()
                yield record

        match form:
            case Form.JSON:
                write_json(records(), sys.stdout)
            case Form.CSV:
                write_csv(map(in_short, records()), COLUMNS, sys.stdout)
            case Form.TABLE:
                rows = [in_short(record) for record in records()]
    if form is Form.TABLE:
        write_table(rows, COLUMNS, sys.stdout)
    for name, reason in unread.items():
        say(f"classify: {one_line(name)} can't be read: {reason}.")
    rejected = statuses.count("rejected")
    say(
        f"{count(len(statuses), 'image')} classified with {classifier.bundle.name} {classifier.bundle.version}"
        f"{f', {rejected:,} rejected' if rejected else ''}. {NOTICE}"
    )
    return REJECTED if (rejected or unread) and not exit_zero else 0


def _records(
    classifier: Classifier, files: dict[str, Path], unread: dict[str, str]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each file's record and content, in order; files that cannot be read go to `unread`."""
    request_id = str(uuid.uuid4())
    names = list(files)
    with ThreadPoolExecutor(available_cores(), "decode") as threads:
        for start in range(0, len(names), BATCH):
            group = names[start : start + BATCH]
            opened = []
            for name, one in zip(
                group, threads.map(lambda name: _open(classifier, name, files[name]), group), strict=True
            ):
                if isinstance(one, OSError):
                    unread[name] = one.strerror or str(one)
                else:
                    opened.append(one)
            decoded = [one.decoded for one in opened if isinstance(one.decoded, DecodedImage)]
            began = time.perf_counter()
            predictions = iter(classifier.predict(decoded))
            share = (time.perf_counter() - began) * 1000 / max(1, len(decoded))
            for one in opened:
                answer = one.decoded if isinstance(one.decoded, Rejection) else next(predictions)
                timings = one.timings_ms | ({} if isinstance(answer, Rejection) else {"infer": share})
                record = unstored_record(answer, one.facts, timings, classifier.bundle, request_id, one.name)
                yield record, one.content


def _open(classifier: Classifier, name: str, path: Path) -> _Opened | OSError:
    began = time.perf_counter()
    try:
        size = path.stat().st_size
        if size > classifier.limits.max_bytes:  # not read, as the worker does not read it either
            return _Opened(name, b"", FileFacts(bytes=size), Rejection(RejectionCode.TOO_LARGE), {})
        content = path.read_bytes()
    except OSError as error:
        return error
    read = time.perf_counter()
    decoded = classifier.decode(content)
    timings = {"fetch": (read - began) * 1000, "decode": (time.perf_counter() - read) * 1000}
    facts = FileFacts(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return _Opened(name, content, facts, decoded, timings)
