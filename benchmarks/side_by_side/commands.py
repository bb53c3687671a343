"""The commands of a worker's process: handle events, report memory, leave out the emulator or the network."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from botocore.client import BaseClient

from benchmarks.machine import memory_mb
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


def carry_out(app: Any, command: dict[str, Any]) -> dict[str, Any]:
    """Carries out one command on the handler module `app`.

    events=[...], memory=True, vector_units=True, fakes=FOLDER or constant_network=True.
    """
    match command:
        case {"events": events}:
            return _handle(app, events)
        case {"memory": True}:
            return memory_mb()
        case {"vector_units": True}:
            # NumPy asks CPUID itself; /proc/cpuinfo would show the real machine.
            from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]  # noqa: PLC0415

            return {name: bool(__cpu_features__.get(name)) for name in ("AVX2", "AVX512F")}
        case {"fakes": folder}:
            bodies = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
            # By type: botocore also keeps a weak proxy, which passes for an instance.
            clients = [thing for thing in gc.get_objects() if issubclass(type(thing), BaseClient)]
            for client in clients:
                answer_in_process(client, bodies)
            return {"clients": len(clients)}
        case {"constant_network": True}:
            _make_network_constant()
            return {}
        case _:
            raise ValueError(f"no such command: {sorted(command)}")


def _handle(app: Any, events: list[dict[str, Any]]) -> dict[str, Any]:
    handed_back = 0
    began, cpu_began = time.perf_counter(), time.process_time()
    for event in events:
        answer = app.lambda_handler(event, Context(time.monotonic() + SECONDS_GIVEN))
        handed_back += len(answer["batchItemFailures"])
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
        "images": sum(len(event["Records"]) for event in events),
        "handed_back": handed_back,
    }


def _make_network_constant() -> None:
    """The network's first answer is repeated for all images: what is left is the cost of everything around it."""
    from model_layer.network import Network, Outputs  # noqa: PLC0415

    run = Network.run
    first: list[Outputs] = []

    def constant(self: Network, pixels: Any) -> Outputs:
        if not first:
            first.append(run(self, pixels[:1]))
        repeated: dict[str, Any] = {}
        for field in fields(Outputs):
            value = getattr(first[0], field.name)
            repeated[field.name] = value if value is None else np.repeat(value, len(pixels), axis=0)
        return Outputs(**repeated)

    Network.run = constant  # type: ignore[method-assign]
