"""The service with its whole stack in one process: embedded AWS, worker, page. Driven by lines on stdin.

Prints one JSON object with the address once it answers. `offline` ends the web server and leaves the rest; `online`
starts it again on the same port; the end of stdin ends everything.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from api.access import LOOPBACK, OPEN, KeyAccess
from api.app import create_app
from api.settings import Settings
from infra.embedded_aws import Endpoint, embedded_aws
from infra.stack import Stack, deploy
from infra.worker_loop import Handler, load_handler, run_worker

if TYPE_CHECKING:
    from api.guard import Access


class WebServer:
    """uvicorn in a thread, on the same port each time."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> None:
        app = create_app(self._settings, access=self._access)
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        app.state.service.loading.result()

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()


def work(stack: Stack, handler: Handler, ended: threading.Event) -> None:
    while not ended.is_set():
        run_worker(stack, handler, until=lambda: True, retry_after=1)


def let_pages_post(endpoint: Endpoint, bucket: str, origin: str) -> None:
    rule = {"AllowedOrigins": [origin], "AllowedMethods": ["POST"], "AllowedHeaders": ["*"]}
    endpoint.client("s3").put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def main() -> None:
    # The worker's log lines are CloudWatch's, not those of whoever reads the address.
    answers, sys.stdout = sys.stdout, sys.stderr
    with embedded_aws() as endpoint:
        stack = deploy(endpoint, parameters={"BatchWindowSeconds": 0})
        handler = load_handler(stack)
        settings = Settings.from_environment()
        has_store = "--classify-only" not in sys.argv
        settings = Settings(
            settings.worker,
            stack.table if has_store else None,
            stack.bucket if has_store else None,
            relay="--direct" not in sys.argv,
        )
        access = KeyAccess(frozenset(LOOPBACK), "k" * 32, once="only-once") if "--with-key" in sys.argv else OPEN
        server = WebServer(settings, access)
        url = f"http://127.0.0.1:{server.port}"
        if not settings.relay:
            let_pages_post(endpoint, stack.bucket, url)
        ended = threading.Event()
        worker = threading.Thread(target=work, args=(stack, handler, ended))
        worker.start()
        server.start()
        print(json.dumps({"url": url}), file=answers, flush=True)
        for line in sys.stdin:
            {"offline": server.stop, "online": server.start}[line.strip()]()
            print("{}", file=answers, flush=True)
        ended.set()
        server.stop()
        worker.join()


if __name__ == "__main__":
    main()
