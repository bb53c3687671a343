"""The service's entry point on Lambda, behind an HTTP API: `api.lambda_app.lambda_handler`.

The model is loaded at import, in Lambda's initialisation phase; a wrong setting ends it there, in one sentence. Who may
call is decided by the HTTP API (`Api: iam | jwt` in template.yaml). A request that nobody was asked about is refused
here too: no mistake in a route makes the service anonymous.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mangum import Mangum

from api.app import create_app
from api.problems import MEDIA_TYPE, Problem
from api.settings import Settings
from handler.loading import load

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BYTES = 4_500_000
"""Of an image: Lambda takes 6 MB with an invocation, in which the body is base64 (4/3) beside the request's headers."""

_TEXT = ["application/json", MEDIA_TYPE, "text/"]
"""What is handed to the HTTP API as it is; everything else as base64."""


class Authorized:
    """Lets in what the HTTP API has let in: by IAM, or by a token of the issuer that it trusts."""

    def check(self, request: Request) -> None:
        """Raises Problem: 401, where no authorizer has spoken."""
        event: dict[str, Any] = request.scope.get("aws.event", {})
        authorizer = event.get("requestContext", {}).get("authorizer") or {}
        if not {"iam", "jwt"} & set(authorizer):
            raise Problem(401, "unauthorized", "This service answers no anonymous requests.")


logging.getLogger("api").setLevel(logging.INFO)

settings = replace(Settings.from_environment(), max_body_bytes=MOST_BYTES)
app = create_app(settings, classifier=load(settings.worker), access=Authorized())
answer = Mangum(app, lifespan="off", text_mime_types=_TEXT)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers one request, as HTTP APIs hand them over (payload 2.0)."""
    return answer(event, context)
