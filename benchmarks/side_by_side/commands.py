"""What a worker's process can be asked: to handle events, to say its memory, to do without the network between."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from botocore.client import BaseClient

from benchmarks.side_by_side.fakes import answer_in_process

SECONDS_GIVEN = 900
"""An invocation's time limit here: Lambda's longest."""


@dataclass(frozen=True)
class Context:
    """Lambda's second argument, as far as a handler may read it."""

    ends: float
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"
    function_name: str = "bench"
    memory_limit_in_mb: int = 3538
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:000000000000:function:bench"

    def get_remaining_time_in_millis(self) -> int:
        return int((self.ends - time.monotonic()) * 1000)


class Commands:
    """One handler under measurement."""

    def __init__(self, app: Any) -> None:
        """`app` is the module with `lambda_handler`, imported."""
        self._app = app

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carries out one of: events=[...], memory=True, fakes=FOLDER, constant_network=True."""
        match command:
            case {"events": events}:
                return self._handle(events)
            case {"memory": True}:
                return memory()
            case {"fakes": folder}:
                return self._answer_in_process(Path(folder))
            case {"constant_network": True}:
                return self._answer_without_network()
            case _:
                raise ValueError(f"no such command: {sorted(command)}")

    def _handle(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        handed_back = 0
        began, cpu_began = time.perf_counter(), time.process_time()
        for event in events:
            answer = self._app.lambda_handler(event, Context(time.monotonic() + SECONDS_GIVEN))
            handed_back += len(answer["batchItemFailures"])
        return {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu_began,
            "images": sum(len(event["Records"]) for event in events),
            "handed_back": handed_back,
        }

    def _answer_in_process(self, folder: Path) -> dict[str, Any]:
        bodies = {file.name: file.read_bytes() for file in folder.iterdir()}
        # By type: botocore keeps a weak proxy too, which passes for an instance.
        clients = [thing for thing in gc.get_objects() if issubclass(type(thing), BaseClient)]
        for client in clients:
            answer_in_process(client, bodies)
        return {"clients": len(clients)}

    def _answer_without_network(self) -> dict[str, Any]:
        """The network's first answer stands for all: what is left is the cost of everything around it."""
        from model_layer.network import Network, Outputs  # noqa: PLC0415

        run = Network.run
        first: list[Any] = []

        def constant(self: Network, pixels: Any) -> Any:
            if not first:
                first.append(run(self, pixels[:1]))
            repeated = {
                field.name: np.repeat(value, len(pixels), axis=0)
                for field in fields(Outputs)
                if (value := getattr(first[0], field.name)) is not None
            }
            return Outputs(**repeated)

        Network.run = constant  # type: ignore[method-assign]
        return {}


def memory() -> dict[str, float]:
    """This process's resident set and its highest value, in MB (10^6 bytes)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: int(fields[key].split()[0]) * 1024 / 1e6 for name, key in (("resident", "VmRSS"), ("peak", "VmHWM"))}
