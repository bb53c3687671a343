"""The bytes of an upload: of exactly the version that the event names, or none.

Which of S3's refusals stay until the object's owner acts, and which may pass:

| S3's answer to GetObject | meaning |
|---|---|
| `InvalidObjectState` | the object is in an archive storage class or tier, and not restored: `archived` |
| `InvalidRequest`, about server-side encryption | encrypted with a key that its uploader kept (SSE-C): `not_readable` |
| `AccessDenied`, for a KMS key of another account, or one that KMS does not name to us | `not_readable` |
| `KMS.NotFoundException` | the key was deleted: `not_readable` |
| every other denial, every other error of KMS | a policy or key that somebody may correct: it may pass |

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from handler.aws import AWS_ERRORS, DELETE_MARKER, DELETED, OVERWRITTEN, aws_code, unavailable
from handler.errors import ErrorCode, HandlerError, RefusedError, SupersededError
from handler.store.record import FileFacts
from model_layer import Rejection, RejectionCode

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from handler.intake.messages import Removal, Upload

_CHUNK_BYTES = 2**20

_CALLER = re.compile(r"arn:[a-z-]+:(?:sts|iam)::([0-9]{12}):")
_KMS_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:([0-9]{12}):")
_UNNAMED_KMS_KEY = "resource associated with this ciphertext"  # KMS names a key only to its own account

_GZIP = b"\x1f\x8b"  # RFC 1952
_GZIP_CHUNK_BYTES = 2**16
_MOST_GZIP_MEMBERS = 10_000  # programs that compress in parallel write one for each 64 KB or more


class BucketReader:
    """Reads uploads from S3. Thread-safe."""

    def __init__(self, client: S3Client, max_bytes: int) -> None:
        """`max_bytes` bounds the bytes read, and so the memory of each fetching thread."""
        self._client = client
        self._max_bytes = max_bytes

    def fetch(self, upload: Upload) -> tuple[bytes | Rejection, FileFacts]:
        """Reads all of `upload`, checked against the length and the checksum that S3 states.

        Returns the content, unpacked if S3 keeps it packed, and the facts of the object as it is stored. A rejection
        for `too_large` comes from the headers, without reading the body.

        Raises:
            SupersededError: this version of the object no longer exists.
            RefusedError: S3 refuses to give it until its owner acts.
            TryAgainError: S3 refused, failed or broke off.
        """
        try:
            response = self._client.get_object(Bucket=upload.bucket, Key=upload.key, **_version_condition(upload))
            with contextlib.closing(response["Body"]) as body:
                size = response.get("ContentLength")
                if size is not None and size > self._max_bytes:
                    return Rejection(RejectionCode.TOO_LARGE), FileFacts(_etag(response), size)
                content, facts = self._read(body, _etag(response))
        except AWS_ERRORS as error:
            raise _meaning(error) from error
        if isinstance(content, bytes):
            content = unpacked(content, response.get("ContentEncoding"), self._max_bytes)
        return content, facts

    def exists(self, upload: Upload) -> bool:
        """Asks S3 whether this version of the object still exists, be it hidden by a later one or by a delete marker.

        Raises:
            TryAgainError: S3 refused or failed.
        """
        try:
            self._client.head_object(Bucket=upload.bucket, Key=upload.key, **_version_condition(upload))
        except AWS_ERRORS as error:
            code = aws_code(error)
            if code in DELETED | OVERWRITTEN:
                return False
            if code != "400":  # S3 lacks the key that the uploader kept (SSE-C), so there is an object
                raise unavailable(ErrorCode.STORAGE_UNAVAILABLE, "HeadObject", error) from error
        return True

    def remaining(self, removal: Removal) -> str | None:
        """Asks S3 what still exists of what `removal` took away: `*` all, one object version, or None, nothing.

        All of it exists if the object came back unchanged or the version was never deleted. One version exists if it
        was put on top of a delete marker; it is named as `Upload.object_version` names it.

        Raises:
            TryAgainError: S3 refused or failed.
        """
        version = removal.version or ("null" if removal.marker else None)
        condition: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            found = self._client.head_object(Bucket=removal.bucket, Key=removal.key, **condition)
        except AWS_ERRORS as error:
            code = aws_code(error)
            if code not in DELETED:
                raise unavailable(ErrorCode.STORAGE_UNAVAILABLE, "HeadObject", error) from error
            if not removal.marker:
                return None
            if code not in DELETE_MARKER:
                return "*"  # the delete marker was itself deleted: the object is back
            return self.remaining(replace(removal, version=None, marker=False))
        return "*" if version else _object_version(found)

    def _read(self, body: Any, etag: str | None) -> tuple[bytes | Rejection, FileFacts]:
        buffer, digest = io.BytesIO(), hashlib.sha256()
        # Always to the end: only there does botocore compare length and checksum.
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            buffer.write(chunk)
            digest.update(chunk)
            if buffer.tell() > self._max_bytes:
                return Rejection(RejectionCode.TOO_LARGE), FileFacts(etag)
        return buffer.getvalue(), FileFacts(etag, buffer.tell(), digest.hexdigest())


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


# The meaning of S3's errors


def _meaning(error: Exception) -> HandlerError:
    code = aws_code(error)
    if code in DELETED:
        return SupersededError(ErrorCode.DELETED, "The object was deleted before it could be read.")
    if code in OVERWRITTEN:
        return SupersededError(ErrorCode.OVERWRITTEN, "The object was overwritten before it could be read.")
    if refusal := _lasting_refusal(error):
        return RefusedError(refusal)
    return unavailable(ErrorCode.STORAGE_UNAVAILABLE, "GetObject", error)


def _lasting_refusal(error: Exception) -> ErrorCode | None:
    """The code of a refusal that stays; None where `error` may pass. See the module's docstring."""
    code, message = aws_code(error), _message(error)
    if code == "InvalidObjectState":
        return ErrorCode.ARCHIVED
    encryption = code == "InvalidRequest" and re.search(r"server[ -]side encryption", message, re.IGNORECASE)
    foreign_key = code == "AccessDenied" and "kms:" in message and _is_of_another_account(message)
    if code == "KMS.NotFoundException" or encryption or foreign_key:
        return ErrorCode.NOT_READABLE
    return None


def _is_of_another_account(message: str) -> bool:
    caller, key = _CALLER.search(message), _KMS_KEY.search(message)
    if caller and key:
        return caller[1] != key[1]
    return _UNNAMED_KMS_KEY in message


def _message(error: Exception) -> str:
    """Only searched here, and never written anywhere: it may contain names."""
    return str(error.response.get("Error", {}).get("Message", "")) if isinstance(error, ClientError) else ""


# Content-Encoding


def unpacked(content: bytes, encoding: str | None, max_bytes: int) -> bytes | Rejection:
    """`content` unpacked, if `encoding` names gzip and the bytes are gzip: the header is often left on plain files.

    Never unpacks to more than `max_bytes`. The rejection is `too_large`, `truncated` or `corrupt`, or `too_costly` for
    more parts than any program writes.
    """
    codings = {coding.strip() for coding in (encoding or "").lower().split(",")}
    if codings & {"gzip", "x-gzip"} and content.startswith(_GZIP):
        return _gunzipped(memoryview(content), max_bytes)
    return content


def _gunzipped(packed: memoryview, max_bytes: int) -> bytes | Rejection:
    plain, position = io.BytesIO(), 0
    for _ in range(_MOST_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            chunk = packed[position : position + _GZIP_CHUNK_BYTES]
            if not chunk:
                return Rejection(RejectionCode.TRUNCATED)
            try:
                plain.write(member.decompress(chunk, max_bytes + 1 - plain.tell()))
            except zlib.error:
                return Rejection(RejectionCode.CORRUPT)
            if plain.tell() > max_bytes:
                return Rejection(RejectionCode.TOO_LARGE)
            position += len(chunk) - len(member.unconsumed_tail) - len(member.unused_data)
        if packed[position : position + len(_GZIP)] != _GZIP:  # the end, or padding, which gzip ignores as well
            return plain.getvalue()
    return Rejection(RejectionCode.TOO_COSTLY)
