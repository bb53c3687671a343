"""The service on one machine: uvicorn, with an end in order.

serve(Settings.from_environment())        # http://127.0.0.1:8000
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import uvicorn

from api.access import LOOPBACK, KeyAccess
from api.app import create_app
from handler.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from socket import socket
    from types import FrameType

    from api.service import Service
    from api.settings import Settings

PORT = 8000
_SECONDS_TO_FINISH = 20
"""That requests have to end after SIGTERM or Ctrl-C; a container is usually given 30."""


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    names: frozenset[str] = frozenset(),
    key: bool = True,
    tell: Callable[[str], None] = print,
) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit code.

    `names` are those under which others may reach a `host` that is not this machine's loopback (default: any). On
    loopback the `key` may be left away; elsewhere it may not. It is `settings.key`, or one that is drawn for this run.
    Uploads are relayed, so that a page needs no other host. `tell` gets the address, with the token in it that works
    once, and how programs send the key.

    Raises:
        ConfigurationError: a host of the network without a key, or a model that cannot be loaded.
    """
    access = _access(settings, host, names, with_key=key)
    app = create_app(replace(settings, relay=True), access=access)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,  # its lines hold queries, and so images' keys
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    server = _Server(config, lambda running: _tell(tell, host, running, access, settings.key is None))
    service: Service = app.state.service
    service.loading.add_done_callback(lambda loaded: server.stop() if loaded.exception() else None)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("botocore", "boto3", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with _ends_in_order():
        server.run()
    if service.loading.done() and (error := service.loading.exception()):
        raise error
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._listening(self.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Ends it in order."""
        self.should_exit = True


@contextlib.contextmanager
def _ends_in_order() -> Iterator[None]:
    """The server raises the signal that stopped it once more when it is done; here that has no effect."""
    before = {number: signal.signal(number, _nothing) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    pass


def _access(settings: Settings, host: str, names: frozenset[str], *, with_key: bool) -> KeyAccess:
    loopback = host in LOOPBACK or f"[{host}]" in LOOPBACK
    if not loopback and not with_key:
        raise ConfigurationError(
            f"On {host} others can reach the service, so it needs its key; loopback may do without."
        )
    key = (settings.key or secrets.token_urlsafe(32)) if with_key else None
    return KeyAccess(hosts=frozenset(LOOPBACK) if loopback else names or None, key=key, once=secrets.token_urlsafe(16))


def _tell(tell: Callable[[str], None], host: str, port: int, access: KeyAccess, is_drawn: bool) -> None:
    # Shown to a person; nothing is bound to it here.
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # nosec B104
    shown = everywhere.get(host, f"[{host}]" if ":" in host else host)
    address = f"http://{shown}:{port}"
    if access.key is None:
        tell(f"{address}/")
        return
    tell(f"{address}/?token={access.once}")
    key = access.key if is_drawn else "<the key>"
    tell(f"The address works once. Programs send the header Authorization: Bearer {key}")
