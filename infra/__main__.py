"""`python -m infra`: the stack on an embedded AWS, as long as you develop against it."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from infra.embedded_aws import embedded_aws
from infra.local_stack import PARAMETERS
from infra.stack import Stack, deploy
from infra.standing import standing
from infra.template import HOUSEKEEPER, WORKER
from infra.worker_loop import keep_house, load_handler, run_worker
from model_layer.errors import run_command

if TYPE_CHECKING:
    from types import FrameType


TOLD = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""What another terminal needs to reach the embedded AWS and not your own account."""


def main() -> int:
    """Deploys, writes `env.json` for `sam local invoke`, and waits until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m infra", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 172.17.0.1 is what Docker's containers reach"
    )
    parser.add_argument(
        "--worker",
        action="store_true",
        help="also run the worker and the housekeeper, in this process, on what the queues hold",
    )
    parser.add_argument("--env", type=Path, default=Path("env.json"), help="file for `sam local invoke --env-vars`")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    return run_command("infra", lambda: _stand(options.host, options.env, worker=options.worker))


def _stand(host: str, env: Path, *, worker: bool) -> int:
    """Deploys, and stays up until it is stopped, which is its normal end."""
    with contextlib.suppress(KeyboardInterrupt), embedded_aws(host) as endpoint:
        stack = deploy(endpoint, parameters=PARAMETERS)
        functions = {WORKER: stack, HOUSEKEEPER: stack.housekeeper or stack}
        variables = {name: {**one.environment, "AWS_ENDPOINT_URL": endpoint.url} for name, one in functions.items()}
        env.write_text(json.dumps(variables, indent=2) + "\n", encoding="utf-8")
        settings = endpoint.environment({})
        print("export", *(f"{name}={settings[name]}" for name in TOLD))
        print(f"export BUCKET={stack.bucket} TABLE={stack.table}")
        print(f"{env} is written. Nothing here outlives Ctrl-C.", flush=True)
        with standing(stack):
            if worker:
                _work(stack)
            signal.pause()
    return 0


def _work(stack: Stack) -> NoReturn:
    """Runs the worker on both lanes in turn, and the housekeeper where there is something for it, forever."""
    handler = load_handler(stack)
    print(f"The worker runs. Try: make smoke STACK={stack.name}, or dermbatch submit --local FILE", flush=True)
    while True:
        for lane in stack.lanes.values():
            run_worker(stack, handler, lane=lane, until=lambda: True)
        keep_house(stack, until=lambda: True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
