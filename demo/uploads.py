"""Puts files into the bucket, runs the worker on them, and collects their records from the table."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from botocore.exceptions import BotoCoreError, ClientError

from demo.files import DemoError
from handler.intake.events import read_event
from handler.store.table import PredictionsTable
from infra.worker_loop import Invocation, keep_house, load_handler, load_housekeeper, run_worker, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack
    from infra.worker_loop import Handler

# The embedded AWS keeps objects in memory, so a large folder passes through the bucket in waves of this size.
WAVE_FILES = 200
WAVE_BYTES = 256 * 2**20

UPLOAD_THREADS = 4
RETRY_AFTER = 1  # seconds; on AWS it is minutes, but here a person waits
SILENCE = 20.0
"""Seconds with an empty queue and no new record after which the missing records are given up."""


@dataclass(slots=True)
class Uploads:
    """Uploads to a deployed stack. `records` and `unread` fill while `process` works."""

    stack: Stack
    handler: Handler
    on_records: Callable[[Sequence[Mapping[str, Any]]], None]
    """Called with new records as they appear in the table."""
    records: list[Mapping[str, Any]] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    """Files that could not be uploaded, and why."""
    housekeeper: Handler | None = None
    """Records what the worker has given up."""

    def process(self, files: Mapping[str, Path]) -> None:
        """Uploads all `files` (by key) and returns once each has its record.

        Raises:
            DemoError: the worker left uploads without a record.
        """
        for wave in waves(files):
            uploaded = self._upload(wave)
            self._await_records(uploaded)
            self._remove(uploaded)

    def _upload(self, wave: Mapping[str, Path]) -> dict[str, str]:
        """Puts the files into the bucket; returns the version id of each key."""
        s3 = self.stack.endpoint.client("s3")

        def put(key: str, path: Path) -> str | OSError | ClientError | BotoCoreError:
            try:
                with path.open("rb") as body:
                    return str(s3.put_object(Bucket=self.stack.bucket, Key=key, Body=body)["VersionId"])
            except (OSError, ClientError, BotoCoreError) as error:
                return error

        with ThreadPoolExecutor(UPLOAD_THREADS) as pool:
            results = dict(zip(wave, pool.map(put, wave.keys(), wave.values()), strict=True))
        for key, result in results.items():
            if isinstance(result, OSError):
                self.unread[key] = result.strerror or str(result)
            elif not isinstance(result, str):
                self.unread[key] = str(result)
        return {key: result for key, result in results.items() if isinstance(result, str)}

    def _await_records(self, uploaded: Mapping[str, str]) -> None:
        """Runs the worker until each upload has a record."""
        table = PredictionsTable(self.stack.endpoint.client("dynamodb"), self.stack.table)
        pending = dict(uploaded)
        handed: set[str] = set()  # keys given to the worker since the table was last asked
        errors: list[str] = []
        last_sign = time.monotonic()

        def noting(event: Any, context: Any) -> Any:
            handed.update(upload.key for message in read_event(event).messages for upload in message.uploads)
            return self.handler(event, context)

        def collect(invocation: Invocation) -> None:
            nonlocal last_sign
            last_sign = time.monotonic()
            if invocation.error:
                errors.append(invocation.error)
            found = [record for key in handed & pending.keys() for record in self._written(table, key, pending[key])]
            handed.clear()
            for record in found:
                del pending[record["object"]["key"]]
            if found:
                self.records += found
                self.on_records(found)

        def done() -> bool:
            silent = time.monotonic() - last_sign > SILENCE
            return not pending or (silent and waiting(self.stack.endpoint, self.stack.live) == 0)

        run_worker(self.stack, noting, until=done, retry_after=RETRY_AFTER, on_batch=collect)
        if pending and self.housekeeper:
            handed.update(pending)
            keep_house(self.stack, self.housekeeper, retry_after=RETRY_AFTER, on_batch=collect)
        if pending:
            why = f" Its last error: {errors[-1]}" if errors else ""
            raise DemoError(f"The worker left {len(pending)} of {len(uploaded)} uploads without a record.{why}")

    def _written(self, table: PredictionsTable, key: str, version: str) -> list[Mapping[str, Any]]:
        """The upload's record, if there is one. The table started empty, so it holds no other model's records."""
        records = table.history(f"{self.stack.bucket}/{key}")
        return [dict(record) for record in records if record["object"]["version"] == version]

    def _remove(self, uploaded: Mapping[str, str]) -> None:
        s3 = self.stack.endpoint.client("s3")
        for key, version in uploaded.items():
            s3.delete_object(Bucket=self.stack.bucket, Key=key, VersionId=version)


def waves(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """`files` in order, in groups small enough for the embedded AWS; a larger file is a group of its own."""
    wave: dict[str, Path] = {}
    held = 0
    for key, path in files.items():
        with contextlib.suppress(OSError):  # a missing file is reported when it is opened
            held += path.stat().st_size
        if wave and (held > WAVE_BYTES or len(wave) == WAVE_FILES):
            yield wave
            wave, held = {}, 0
            with contextlib.suppress(OSError):
                held = path.stat().st_size
        wave[key] = path
    if wave:
        yield wave


def quiet_handlers(stack: Stack, log: TextIO) -> tuple[Handler, Handler]:
    """Worker's and housekeeper's, ready to run. Their logs and metrics, which would go to CloudWatch, go to `log`."""
    with contextlib.redirect_stdout(log):
        worker, housekeeper = load_handler(stack), load_housekeeper()

    def quiet(handler: Handler) -> Handler:
        def logged(event: Any, context: Any) -> Any:
            with contextlib.redirect_stdout(log):
                return handler(event, context)

        return logged

    return quiet(worker), quiet(housekeeper)
