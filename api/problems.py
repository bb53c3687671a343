"""Every error of the service, as problem details (RFC 9457): `application/problem+json`.

`type` stays `about:blank`, so `title` is the status in HTTP's words. What a program decides by is `code`, which never
changes its meaning; `detail` is a sentence for a person, which may be reworded.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from fastapi.responses import JSONResponse

from handler.store.record import NOTICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"

_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python 3.11 and 3.12 have older ones
_DRAIN_SECONDS = 5.0
_DRAIN_BYTES = 2**26


class Problem(Exception):  # noqa: N818 (the standard's own word)
    """Ends a request with problem details. `more` are further members of the answer."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """What the client gets."""
        return ProblemResponse(
            {
                "type": "about:blank",
                "title": _TITLES.get(self.status) or HTTPStatus(self.status).phrase,
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
                **self.more,
                "notice": NOTICE,
            },
            self.status,
            self.headers,
        )


def busy(code: str, detail: str, seconds: int) -> Problem:
    """503, with the seconds after which trying again makes sense."""
    return Problem(503, code, detail, {"Retry-After": str(seconds)})


class ProblemResponse(JSONResponse):
    """Sent whole at once. What the client still sends of its body is then read and dropped, but not for ever.

    A connection that is closed at once is reset, and the client may lose the answer that it has not read yet; one that
    stays open would swallow an endless body.
    """

    media_type = MEDIA_TYPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer first, the rest of the body after it."""
        if scope.get("state", {}).get("body_is_read", True):
            await super().__call__(scope, receive, send)
            return
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await _drop_body(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop_body(receive: Receive) -> None:
    dropped = 0
    while dropped < _DRAIN_BYTES:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        dropped += len(message.get("body", b""))


async def on_problem(_request: Request, error: Exception) -> Response:
    """Handler of `Problem`."""
    return cast("Problem", error).response()


def on_http_error(methods: Mapping[str, Collection[str]]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Handler of what the framework itself raises: 404, 405. `methods` are those of each path."""

    async def handle(request: Request, error: Exception) -> Response:
        http = cast("HTTPException", error)
        headers = dict(http.headers or {})
        taken = methods.get(request.url.path)
        if taken is None or request.method in taken:
            return _of_the_framework(http.status_code, headers)
        # The framework names only the first endpoint's method, and where a page is mounted it says 404.
        return _of_the_framework(405, {**headers, "Allow": ", ".join(sorted(taken))})

    return handle


def _of_the_framework(status_code: int, headers: Mapping[str, str]) -> Response:
    sentences = {
        404: "There is no such address here; /openapi.json lists those that there are.",
        405: "This address does not take that method; the header Allow lists those that it takes.",
    }
    status = HTTPStatus(status_code)
    sentence = sentences.get(status, f"{status.phrase}.")
    return Problem(status, status.name.lower(), sentence, headers).response()


async def on_invalid(_request: Request, error: Exception) -> Response:
    """Handler of parameters that do not fit their schema. Their values are not repeated: one may be an image's key."""
    invalid = cast("RequestValidationError", error)
    errors = [
        {"where": ".".join(str(part) for part in one["loc"]), "message": str(one["msg"])} for one in invalid.errors()
    ]
    return Problem(
        422, "invalid_request", "The request does not fit its schema; `errors` says where.", errors=errors[:20]
    ).response()


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """Handler of a client that left: nobody reads this."""
    return Problem(400, "client_left", "The client left before its request was complete.").response()
