from __future__ import annotations

import collections
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.side_by_side.commands import Context
from benchmarks.side_by_side.fakes import answer_in_process
from benchmarks.side_by_side.uploads import event
from handler import aws
from handler.configuration import Settings
from handler.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

BUCKET = "images-bucket"


@dataclass
class Counted:
    """A worker whose two services answer in its process, and how often each operation was sent."""

    worker: Worker
    sent: collections.Counter[str]

    def handle(self, keys: list[str]) -> dict[str, Any]:
        uploads = event(BUCKET, [(key, f"version-{key}", "0" * 32) for key in keys])
        return self.worker.handle(uploads, Context(time.monotonic() + 300))


@pytest.fixture
def counted(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`counted({name: content})`: a worker that finds these objects under any prefix."""
    sent: collections.Counter[str] = collections.Counter()

    def count(request: Any, event_name: str, **_: Any) -> None:
        sent[event_name.rsplit(".", 1)[1]] += 1

    def start(bodies: dict[str, bytes]) -> Counted:
        real = aws.client

        def client(service: str, settings: Settings) -> Any:
            made = real(service, settings)
            answer_in_process(made, bodies)
            made.meta.events.register_first("before-send", count)
            return made

        monkeypatch.setattr(aws, "client", client)
        for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        settings = Settings.from_environment({"PREDICTIONS_TABLE": "predictions", "MODEL_BUNDLE": str(tiny_bundle)})
        worker = Worker.start(settings)
        worker.enter_model()  # once in a worker's life: no part of an image's cost
        sent.clear()
        return Counted(worker, sent)

    return start
