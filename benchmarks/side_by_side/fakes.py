"""S3 and DynamoDB answered inside the worker's process, so that the emulator's own time is left out.

botocore builds and signs each request and parses its answer as usual; only the connection is missing. Used only by the
bench and by tests that count requests: other tests meet a real endpoint.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ETAG = '"0123456789abcdef0123456789abcdef"'
EMPTY: dict[str, Any] = {
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
    "Query": {"Items": [], "Count": 0, "ScannedCount": 0},
}
"""The answers of a table without items; other operations return an empty object."""


class _Raw(io.BytesIO):
    """A response's body as urllib3 hands it out."""

    def stream(self, amt: int = 2**16, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def answer_in_process(client: Any, bodies: Mapping[str, bytes]) -> None:
    """Makes `client` (of S3 or DynamoDB) answer from memory; the last part of an object's key selects its body."""

    def get_object(request: Any, **_: Any) -> AWSResponse:
        body = bodies[unquote(urlsplit(request.url).path).rsplit("/", 1)[1]]
        headers: Any = {"Content-Length": str(len(body)), "ETag": ETAG}
        return AWSResponse(request.url, 200, headers, _Raw(body))

    def table(request: Any, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rsplit(".", 1)[1]
        headers: Any = {}
        return AWSResponse(request.url, 200, headers, _Raw(json.dumps(EMPTY.get(operation, {})).encode()))

    if client.meta.service_model.service_name == "s3":
        client.meta.events.register_first("before-send.s3.GetObject", get_object)
    else:
        client.meta.events.register_first("before-send.dynamodb", table)
