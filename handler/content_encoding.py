"""An object that was stored with Content-Encoding gzip, unpacked: never to more bytes than an image may have."""

from __future__ import annotations

import io
import zlib

from model_layer import Rejection, RejectionCode

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
                return Rejection(RejectionCode.TRUNCATED)
            try:
                plain.write(member.decompress(chunk, max_bytes + 1 - plain.tell()))
            except zlib.error:
                return Rejection(RejectionCode.CORRUPT)
            if plain.tell() > max_bytes:
                return Rejection(RejectionCode.TOO_LARGE)
            position += len(chunk) - len(member.unconsumed_tail) - len(member.unused_data)
        if packed[position : position + len(_MARK)] != _MARK:  # the end, or padding, which gzip ignores as well
            return plain.getvalue()
    return Rejection(RejectionCode.TOO_COSTLY)
