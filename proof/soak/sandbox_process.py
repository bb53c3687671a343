"""The process of a worker: reads events from a pipe, answers on another, and fails as its plan says.

    python -m proof.soak.sandbox_process SOCKET_FD PLAN_FILE SCRATCH_FOLDER

Started by `proof.soak.sandbox`, never by hand. It starts one worker and forks itself for each sandbox, as Lambda
restores a snapshot, so that replacing a killed sandbox takes milliseconds. Logs and metrics go to standard output, as
on Lambda.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.lambda_contract import LambdaContext
from model_layer.network import Network
from proof.soak.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    asked, plan, scratch = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
    faults = Faults(json.loads(plan.read_text()), scratch / "struck")
    faults.install()
    _count_inferences(scratch / "inferences", faults)
    from handler.app import lambda_handler  # noqa: PLC0415 (its clients are made at import, with the faults in them)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children need no waiting for
    asked.sendall(b"0\n")
    while True:
        _, descriptors, _, _ = socket.recv_fds(asked, 1, 2)
        if len(descriptors) < 2:
            return
        pid = os.fork()
        if not pid:
            asked.close()
            random.seed()
            _serve(descriptors[0], descriptors[1], faults, lambda_handler)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        asked.sendall(f"{pid}\n".encode())


def _serve(requests: int, answers: int, faults: Faults, handler: Callable[[Any, Any], Any]) -> None:
    with os.fdopen(requests) as lines, os.fdopen(answers, "w") as told:
        for line in lines:
            request = json.loads(line)
            faults.begin(request["event"])
            answer: dict[str, Any] = {}
            try:
                answer["response"] = handler(request["event"], LambdaContext(**request["context"]))
            except Exception as error:  # noqa: BLE001 (Lambda reports any of them as the invocation's error)
                answer["error"] = f"{type(error).__name__}: {error}"
            faults.before_response()
            sys.stdout.flush()
            print(json.dumps(answer), file=told, flush=True)


def _count_inferences(file: Path, faults: Faults) -> None:
    """Writes a byte for each image the network runs on, so that it counts even if this process dies."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    run = Network.run

    def counted(network: Network, pixels: Any) -> Any:
        os.write(descriptor, b"." * len(pixels))
        faults.at_inference()
        return run(network, pixels)

    network_class: Any = Network
    network_class.run = counted


if __name__ == "__main__":
    main()
