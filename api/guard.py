"""Around every request: who may ask, the headers of every answer, one log line, and no exception that gets past.

The log line names the endpoint, never the address that was asked for: its query may hold an image's key.
"""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request

from api.problems import Problem
from handler.store.record import NOTICE

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


logger = logging.getLogger("api")  # not below the worker's, whose handlers it would share

_HEADERS = {
    "dermbatch-notice": NOTICE,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def content_security_policy(upload_origin: str | None) -> str:
    """What a page of this service may load: its own files, pictures that it made itself, the bucket as its target."""
    connect = " ".join(filter(None, ("'self'", upload_origin)))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


class Access(Protocol):
    """Who may use the service."""

    def check(self, request: Request) -> Response | None:
        """None lets `request` pass; an answer is given in its place. Raises Problem."""


class Guard:
    """The outermost layer of the service."""

    def __init__(self, app: ASGIApp, *, access: Access, upload_origin: str | None) -> None:
        self._app = app
        self._access = access
        headers = _HEADERS | {"content-security-policy": content_security_policy(upload_origin)}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what is no request of HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._headers)
        started = time.perf_counter()
        try:
            await self._answer(scope, exchange)
        except Problem as problem:
            await problem.response()(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            # Its own text is left out: it may hold a key.
            lines = "".join(traceback.format_tb(error.__traceback__))
            logger.error(  # noqa: TRY400 (that would log its text)
                "%s %s raised %s\n%s", exchange.request_id, _endpoint(scope), type(error).__name__, lines
            )
            if exchange.status:
                raise ConnectionAbortedError("The answer had begun.") from None
            sentence = f"The service met an unforeseen error; its log has more under {exchange.request_id}."
            await Problem(500, "internal_error", sentence).response()(scope, exchange.receive, exchange.send)
        finally:
            ms = (time.perf_counter() - started) * 1000
            logger.info("%s %s %s %.0f ms", exchange.request_id, _endpoint(scope), exchange.status, ms)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        answer = self._access.check(Request(scope))
        await (answer or self._app)(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer, as the guard sees them pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self.request_id = str(uuid.uuid4())
        self.status: int | None = None
        self._receive = receive
        self._send = send
        self._headers = [*headers, (b"x-request-id", self.request_id.encode())]
        # Answers are about people, so no cache keeps them; the page's files are asked for anew, or an old script could
        # meet a new service.
        self._caching = b"no-store" if scope["path"].startswith("/v1/") else b"no-cache"
        sent = {name.lower(): value for name, value in scope["headers"]}
        has_body = b"transfer-encoding" in sent or sent.get(b"content-length", b"0").strip() != b"0"
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state |= {"request_id": self.request_id, "body_is_read": not has_body}

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            self._state["body_is_read"] = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *self._headers]
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", self._caching))
            message = {**message, "headers": headers}
        await self._send(message)


def _endpoint(scope: Scope) -> str:
    """Method and address as the service declares them, `GET /v1/prediction`."""
    method = scope["method"] if scope["method"] in {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"} else "?"
    path = getattr(scope.get("route"), "path", None)
    return f"{method} {path or '(no endpoint)'}"
