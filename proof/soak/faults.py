"""Faults in a worker's process, below boto3: they change requests and responses, never our own functions.

A plan names the faults for an object's key. Each strikes in only one delivery, in whichever process; a file in a shared
folder records that it has struck. Those of `LASTING` strike every time, and `<fault>@4` strikes at the fourth receive.

SLOW_DOWN to RACE, POISON and FORBIDDEN affect a single image, the others the invocation that holds it.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from handler.intake.events import read_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SLOW_DOWN = "S3 503 SlowDown"
UNAVAILABLE = "S3 503"
INTERNAL_ERROR = "S3 500, once"
RESET_READING = "connection reset at GetObject"
SLOW = "slow download"
CUT_OFF = "cut-off download"
THROTTLED_WRITE = "PutItem throttled"
RESET_WRITING = "connection reset after PutItem"
RACE = "conditional-check race"
THROTTLED_LOOKUP = "BatchGetItem throttled"
EXPIRED = "expired credentials"
LATE_TABLE = "table not there yet"
BRIEF_TABLE = "table not there for a second"
KILL_FETCH = "killed at fetch"
KILL_INFERENCE = "killed at inference"
KILL_WRITE = "killed at write"
KILL_RESPONSE = "killed before response"
TIMEOUT = "Lambda timeout"
OUT_OF_MEMORY = "out of memory"
POISON = "image kills worker"
FORBIDDEN = "never readable"

OF_IMAGES = (SLOW_DOWN, UNAVAILABLE, INTERNAL_ERROR, RESET_READING, SLOW, CUT_OFF, THROTTLED_WRITE, RESET_WRITING, RACE)
OF_INVOCATIONS = (THROTTLED_LOOKUP, EXPIRED, LATE_TABLE, BRIEF_TABLE, TIMEOUT, OUT_OF_MEMORY)
KILLS = (KILL_FETCH, KILL_INFERENCE, KILL_WRITE, KILL_RESPONSE)
LASTING = frozenset({POISON, FORBIDDEN})
TABLE_AWAY = frozenset({EXPIRED, LATE_TABLE})
"""Faults that keep the table out of reach for a whole invocation."""
_BRIEFLY = 1.0  # seconds

_S3_ERRORS: dict[str, tuple[int, str, int | None]] = {
    FORBIDDEN: (403, "AccessDenied", None),
    SLOW_DOWN: (503, "SlowDown", None),
    UNAVAILABLE: (503, "ServiceUnavailable", None),
    INTERNAL_ERROR: (500, "InternalError", 1),
}
_JSON: Any = {"Content-Type": "application/x-amz-json-1.0"}
_MORE_THAN_BOTOCORE_REPEATS = 4  # so the worker itself must retry


def at(fault: str, receive: int) -> str:
    """The name in a plan of a `fault` that strikes at one receive."""
    return f"{fault}@{receive}"


def strikes(planned: str, receives: int) -> str | None:
    """The fault that `planned` names, if it may strike at this receive."""
    fault, _, receive = planned.partition("@")
    return fault if not receive or int(receive) == receives else None


class Faults:
    """The faults of `plan`, for every client that this process creates from now on."""

    def __init__(self, plan: Mapping[str, Sequence[str]], struck: Path) -> None:
        """`plan` maps object keys to faults; `struck` is the folder that records which have struck."""
        self._plan = plan
        self._struck = struck
        self._active: set[tuple[str, str]] = set()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._direct = URLLib3Session()
        self._lock = threading.Lock()
        self._writes = struck.parent / "writes"
        self._dies_at_inference = False
        self._out_of_memory = False
        self._began = 0.0

    def install(self) -> None:
        """Installs the faults into boto3's default session."""
        session = botocore.session.get_session()
        boto3.setup_default_session(botocore_session=session)
        events = session.get_component("event_emitter")
        events.register("before-send.s3.GetObject", self._get_object)
        events.register("before-send.dynamodb.PutItem", self._put_item)
        events.register("before-send.dynamodb.BatchGetItem", self._batch_get_item)

    def begin(self, event: Any) -> None:
        """Starts a delivery: selects the faults that may strike in it."""
        named = {(up.key, message.receives) for message in read_event(event).messages for up in message.uploads}
        self._active = {
            (key, fault)
            for key, receives in named
            for planned in self._plan.get(key, ())
            if (fault := strikes(planned, receives))
            and (fault in LASTING or planned != fault or not self._file(key, fault).exists())
        }
        self._requests.clear()
        self._began = time.monotonic()
        self._dies_at_inference = False

    def at_inference(self) -> None:
        """Called when the network runs. The image that kills this process has been fetched by now."""
        if self._dies_at_inference:
            _die()

    def before_response(self) -> None:
        """Called after the handler has returned, before Lambda receives the response."""
        if self._any(KILL_RESPONSE) or self._out_of_memory:
            _die()

    def _file(self, key: str, fault: str) -> Path:
        return self._struck / f"{fault} {key}".encode().hex()[-200:]

    def _any(self, fault: str) -> bool:
        """Whether `fault` strikes the whole delivery, because one of its uploads has it."""
        return any(self._now(key, active) for key, active in self._active if active == fault)

    def _now(self, key: str, fault: str, most: int | None = None) -> bool:
        """Whether `fault` strikes this request, at most `most` times in this delivery."""
        if (key, fault) not in self._active:
            return False
        self._file(key, fault).touch()
        with self._lock:
            self._requests[key, fault] += 1
            return most is None or self._requests[key, fault] <= most

    def _get_object(self, request: Any, **_: Any) -> AWSResponse | None:
        key = unquote(urlsplit(request.url).path.split("/", 2)[2])
        self._strike_process(key)
        if self._any(EXPIRED):
            return _s3_error(400, "ExpiredToken")
        for fault, (status, code, most) in _S3_ERRORS.items():
            if self._now(key, fault, most):
                return _s3_error(status, code)
        if self._now(key, RESET_READING):
            raise ConnectionClosedError(endpoint_url="the service's address")
        if self._now(key, SLOW):
            return self._altered(request, pause=0.2)
        if self._now(key, CUT_OFF):
            return self._altered(request, share=0.6)
        return None

    def _strike_process(self, key: str) -> None:
        if self._now(key, POISON) or self._now(key, KILL_FETCH):
            _die()
        if self._now(key, KILL_INFERENCE):
            self._dies_at_inference = True
        if self._now(key, TIMEOUT):
            os.kill(os.getpid(), signal.SIGSTOP)  # hangs as a whole, until Lambda ends it
        if self._now(key, OUT_OF_MEMORY):
            self._out_of_memory = True
            _exhaust_memory()

    def _put_item(self, request: Any, **_: Any) -> AWSResponse | None:
        with self._writes.open("ab") as writes:  # a byte for each
            writes.write(b".")
        item = json.loads(request.body)["Item"]
        key = item["image"]["S"].partition("/")[2]
        if self._now(key, KILL_WRITE):
            _die()
        if refusal := self._table_is_away():
            return refusal
        if self._now(key, THROTTLED_WRITE, most=_MORE_THAN_BOTOCORE_REPEATS):
            return dynamodb_error("ProvisionedThroughputExceededException")
        if self._now(key, RESET_WRITING, most=1):
            self._direct.send(request)
            raise ConnectionClosedError(endpoint_url="the service's address")
        if self._now(key, RACE, most=1):
            self._direct.send(request)  # another worker is a moment faster with the same record
        return None

    def _table_is_away(self) -> AWSResponse | None:
        if self._any(LATE_TABLE):
            return dynamodb_error("ResourceNotFoundException")
        if time.monotonic() < self._began + _BRIEFLY and self._any(BRIEF_TABLE):
            return dynamodb_error("ResourceNotFoundException")
        return dynamodb_error("ExpiredTokenException") if self._any(EXPIRED) else None

    def _batch_get_item(self, **_: Any) -> AWSResponse | None:
        if refusal := self._table_is_away():
            return refusal
        for key, fault in self._active:
            if fault == THROTTLED_LOOKUP and self._now(key, fault, most=_MORE_THAN_BOTOCORE_REPEATS):
                return dynamodb_error("ProvisionedThroughputExceededException")
        return None

    def _altered(self, request: Any, *, share: float = 1.0, pause: float = 0.0) -> AWSResponse:
        """The service's own response, with a body that arrives slowly or breaks off."""
        answer: Any = self._direct.send(request)
        content = answer.content
        body = _Body(content[: int(len(content) * share)])
        body.pause = pause
        return AWSResponse(answer.url, answer.status_code, answer.headers, body)


class _Body(io.BytesIO):
    """A response body like urllib3's."""

    pause = 0.0
    """Seconds before each fifth of it."""

    def read(self, amount: int | None = None) -> bytes:
        if self.pause and amount:
            time.sleep(self.pause)
            amount = min(amount, max(1, len(self.getvalue()) // 5))
        return super().read(amount)

    def stream(self, amt: int = 2**16, decode_content: bool | None = None) -> Iterator[bytes]:
        del decode_content
        while chunk := self.read(amt):
            yield chunk


def _s3_error(status: int, code: str) -> AWSResponse:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    headers: Any = {}
    return AWSResponse("https://service.invalid/", status, headers, _Body(body))


def dynamodb_error(code: str) -> AWSResponse:
    """DynamoDB's error response with this code."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected"}).encode()
    return AWSResponse("https://service.invalid/", 400, _JSON, _Body(body))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exhaust_memory() -> None:
    """Allocations start to fail, and a moment later the process is killed, as on Lambda."""
    threading.Timer(0.3, _die).start()
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 (one number, with little memory left)
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hoard = []
    size = 2**20
    while size >= 2**10:
        try:
            hoard.append(bytearray(size))
        except MemoryError:
            size //= 2
    raise MemoryError
