"""The bytes of an upload: of the very version that the event names, or none.

Which of S3's refusals stay until the object's owner acts, and which may pass:

| what S3 answers to GetObject | meaning |
|---|---|
| `InvalidObjectState` | the object is in an archive storage class or tier, and not restored: `archived` |
| `InvalidRequest`, of server-side encryption | encrypted with a key that its uploader kept (SSE-C): `not_readable` |
| `AccessDenied`, of a KMS key of another account, or one that KMS does not show to us | `not_readable` |
| `KMS.NotFoundException` | the key was deleted: `not_readable` |
| every other denial, every other error of KMS | a policy or key that may be mended: it passes |

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from handler.aws import AWS_ERRORS, error_code, unavailable
from handler.errors import HandlerError, RefusedError, SupersededError
from handler.store.record import FileFacts
from model_layer import Rejection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from handler.intake.messages import Removal, Upload

CHUNK_BYTES = 2**20

_MARKER = {"MethodNotAllowed", "405"}  # the version is a delete marker
# Without s3:ListBucket a missing object would be AccessDenied, and a missing version without s3:ListBucketVersions.
_DELETED = _MARKER | {"NoSuchKey", "NoSuchVersion", "404"}
_OVERWRITTEN = {"PreconditionFailed", "412"}


@dataclass(frozen=True, slots=True)
class Download:
    """What S3 gave for an upload."""

    content: bytes | Rejection
    """The whole object, unpacked, or why there is none: `too_large` is told from the headers, the body left unread."""
    facts: FileFacts
    """Of the object as it is stored."""


class ImageStore:
    """Reads uploads from S3. Thread-safe."""

    def __init__(self, client: S3Client, max_bytes: int) -> None:
        """`max_bytes` bounds what is read, and so the memory of each fetching thread."""
        self._client = client
        self._max_bytes = max_bytes

    def fetch(self, upload: Upload) -> Download:
        """Reads `upload` whole, checked against the length and the checksum that S3 states.

        Raises:
            SupersededError: this version of the object no longer exists.
            RefusedError: S3 keeps it back until its owner acts.
            TryAgainError: S3 refused, failed or broke off.
        """
        try:
            response = self._client.get_object(Bucket=upload.bucket, Key=upload.key, **_version_condition(upload))
            with contextlib.closing(response["Body"]) as body:
                size = response.get("ContentLength")
                if size is not None and size > self._max_bytes:
                    return Download(Rejection("too_large"), FileFacts(_etag(response), size))
                download = self._read(body, _etag(response))
        except AWS_ERRORS as error:
            raise _meaning(error) from error
        if isinstance(download.content, Rejection):
            return download
        return replace(download, content=unpacked(download.content, response.get("ContentEncoding"), self._max_bytes))

    def remaining(self, removal: Removal) -> str | None:
        """What is still there of what `removal` took away: `*` all, the version that stands now, or None, nothing.

        An object that came back unchanged, a version that was never deleted, and one that was put on top of a delete
        marker are told from what is gone. The version that stands is told as `Upload.object_version` tells it.

        Raises:
            TryAgainError: S3 refused or failed.
        """
        version = removal.version or ("null" if removal.marker else None)
        condition: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            found = self._client.head_object(Bucket=removal.bucket, Key=removal.key, **condition)
        except AWS_ERRORS as error:
            code = error_code(error)
            if code not in _DELETED:
                raise unavailable("storage_unavailable", "HeadObject", error) from error
            if not removal.marker:
                return None
            if code not in _MARKER:
                return "*"  # the delete marker was itself deleted: the object is back
            return self.remaining(replace(removal, version=None, marker=False))
        return "*" if version else _object_version(found)

    def _read(self, body: Any, etag: str | None) -> Download:
        buffer, digest = io.BytesIO(), hashlib.sha256()
        # To its end: only there does botocore compare length and checksum.
        for chunk in body.iter_chunks(CHUNK_BYTES):
            buffer.write(chunk)
            digest.update(chunk)
            if buffer.tell() > self._max_bytes:
                return Download(Rejection("too_large"), FileFacts(etag))
        return Download(buffer.getvalue(), FileFacts(etag, buffer.tell(), digest.hexdigest()))


def _version_condition(upload: Upload) -> dict[str, Any]:
    """Without a version id, the current object counts only while it is still the one uploaded."""
    if upload.version:
        return {"VersionId": upload.version}
    return {"IfMatch": f'"{upload.etag}"'}


def _etag(response: Any) -> str | None:
    etag = response.get("ETag")
    return str(etag).strip('"') if etag else None


def _object_version(response: Any) -> str | None:
    version = response.get("VersionId")
    return str(version) if version and version != "null" else _etag(response)


def _meaning(error: Exception) -> HandlerError:
    code = error_code(error)
    if code in _DELETED:
        return SupersededError("deleted", "The object was deleted before it could be read.")
    if code in _OVERWRITTEN:
        return SupersededError("overwritten", "The object was overwritten before it could be read.")
    if refusal := lasting_refusal(error):
        return RefusedError(refusal)
    return unavailable("storage_unavailable", "GetObject", error)


_MARK = b"\x1f\x8b"  # RFC 1952
_CHUNK_BYTES = 2**16
_MAX_MEMBERS = 10_000
"""Of one gzip file: programs that compress in parallel write one for each 64 KB or more."""


def unpacked(content: bytes, encoding: str | None, max_bytes: int) -> bytes | Rejection:
    """`content` itself, unless `encoding` names gzip and the bytes are gzip: the header is often left on plain files.

    The rejection is `too_large`, `truncated` or `corrupt`, or `too_costly` for more parts than any program writes.
    """
    codings = {coding.strip() for coding in (encoding or "").lower().split(",")}
    if codings & {"gzip", "x-gzip"} and content.startswith(_MARK):
        return _gunzipped(memoryview(content), max_bytes)
    return content


def _gunzipped(packed: memoryview, max_bytes: int) -> bytes | Rejection:
    plain, position = io.BytesIO(), 0
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            chunk = packed[position : position + _CHUNK_BYTES]
            if not chunk:
                return Rejection("truncated")
            try:
                plain.write(member.decompress(chunk, max_bytes + 1 - plain.tell()))
            except zlib.error:
                return Rejection("corrupt")
            if plain.tell() > max_bytes:
                return Rejection("too_large")
            position += len(chunk) - len(member.unconsumed_tail) - len(member.unused_data)
        if packed[position : position + len(_MARK)] != _MARK:  # the end, or padding, which gzip ignores as well
            return plain.getvalue()
    return Rejection("too_costly")


_CALLER = re.compile(r"arn:[a-z-]+:(?:sts|iam)::([0-9]{12}):")
_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:([0-9]{12}):")
_HIDDEN_KEY = "resource associated with this ciphertext"  # KMS names a key only to its own account


def lasting_refusal(error: Exception) -> str | None:
    """The code of a refusal that stays, a key of `handler.errors.REFUSALS`; None where `error` may pass."""
    code, message = error_code(error), _message(error)
    if code == "InvalidObjectState":
        return "archived"
    if code == "KMS.NotFoundException":
        return "not_readable"
    if code == "InvalidRequest" and re.search(r"server[ -]side encryption", message, re.IGNORECASE):
        return "not_readable"
    if code == "AccessDenied" and "kms:" in message and _is_of_another_account(message):
        return "not_readable"
    return None


def _is_of_another_account(message: str) -> bool:
    caller, key = _CALLER.search(message), _KEY.search(message)
    if caller and key:
        return caller[1] != key[1]
    return _HIDDEN_KEY in message


def _message(error: Exception) -> str:
    """Looked into here, and written nowhere: it may hold names."""
    return str(error.response.get("Error", {}).get("Message", "")) if isinstance(error, ClientError) else ""
