"""The worker's process: reads events from standard input, answers on a pipe, and breaks as its plan says.

    python -m infra.soak.sandbox_process ANSWERS_FD PLAN_FILE SCRATCH_FOLDER

Started by `infra.soak.sandbox`, never by hand. Logs and metrics go to standard output, as on Lambda.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from infra.lambda_contract import LambdaContext
from infra.soak.faults import Faults
from model_layer.network import Network


def main() -> None:
    descriptor, plan, scratch = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    faults = Faults(json.loads(plan.read_text()), scratch / "struck")
    faults.install()
    _count_inferences(scratch / "inferences", faults)
    from handler.app import lambda_handler  # noqa: PLC0415 (its clients are made at import, with the faults in them)

    with os.fdopen(descriptor, "w") as answers:
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            faults.begin(request["event"])
            answer: dict[str, Any] = {}
            try:
                answer["response"] = lambda_handler(request["event"], LambdaContext(**request["context"]))
            except Exception as error:  # noqa: BLE001 (Lambda reports any of them as the invocation's error)
                answer["error"] = f"{type(error).__name__}: {error}"
            faults.before_response()
            print(json.dumps(answer), file=answers, flush=True)


def _count_inferences(file: Path, faults: Faults) -> None:
    """One byte for each image that the network is run on: whatever then becomes of this process, it is counted."""
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
