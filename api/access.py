"""Who may use a service on this machine: Host, Origin and the key that its owner was shown.

A page of any other site that is open in the same browser can send requests to 127.0.0.1. So what is asked for here must
be asked for under this service's own name (a foreign name that leads here is DNS rebinding), by a page of its own, and
with a key. The key comes to a browser by an address that works once and becomes a cookie; programs send it as
`Authorization: Bearer <key>`.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse

from api.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE = "dermbatch"
_COOKIE_SECONDS = 30 * 86_400
_MOST_SESSIONS = 1000
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Open:
    """Lets everybody in: for tests, and for callers that guard the application themselves."""

    def check(self, _request: Request) -> None:
        """Does nothing."""


OPEN = Open()


@dataclass(slots=True)
class KeyAccess:
    """The rules of one service on a machine."""

    hosts: frozenset[str] | None
    """Names (without port) that the header Host may have; None: any, which is only safe with a key."""
    key: str | None
    """What a program sends; None: nothing is asked for."""
    once: str | None = None
    """What the printed address holds, until it is used."""
    _sessions: dict[str, None] = field(default_factory=dict)

    def check(self, request: Request) -> Response | None:
        """Lets `request` pass, or answers it: with the cookie, where it brings the printed address's token.

        Raises:
            Problem: 401 without the key, 403 for another site's page, 421 under another name.
        """
        host = request.headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise Problem(421, "foreign_host", "This service does not answer under that name.")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"{request.url.scheme}://{host}".lower():
            raise Problem(403, "foreign_origin", "Only this service's own page may ask for this.")
        if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and _is_guarded(request):
            raise Problem(403, "foreign_origin", "Only this service's own page may ask for this.")
        if request.url.path == "/" and "token" in request.query_params:
            cookie = self._exchange(request.query_params["token"])
            return RedirectResponse("/", 303, {"Set-Cookie": cookie, "Cache-Control": "no-store"})
        if self.key is not None and _is_guarded(request) and not self._is_known(request):
            raise Problem(
                401,
                "unauthorized",
                "Open the address that was printed at the start, or send the key as a Bearer token.",
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _exchange(self, token: str) -> str:
        """A session's cookie for the token of the printed address, which works once."""
        once = self.once
        if once is None or not hmac.compare_digest(once.encode(), token.encode()):
            raise Problem(
                401,
                "unauthorized",
                "This address was used before; start the service again for a new one, or send the key as Bearer token.",
                {"WWW-Authenticate": "Bearer"},
            )
        self.once = None
        session = secrets.token_urlsafe(32)
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session] = None
        return f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/; Max-Age={_COOKIE_SECONDS}"

    def _is_known(self, request: Request) -> bool:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.key and hmac.compare_digest(sent.strip().encode(), self.key.encode()):
            return True
        return request.cookies.get(COOKIE) in self._sessions


def _is_guarded(request: Request) -> bool:
    """The page's own files hold nothing that is worth guarding; health is asked for by machines."""
    return request.url.path.startswith("/v1/")


def _name(host: str) -> str:
    """`localhost:8000` without its port, in lower case; empty for what is no host."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name
