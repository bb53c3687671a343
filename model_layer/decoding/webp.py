"""The canvas of a WebP from its header: its decoder reserves two canvases before it can be asked for their size."""

from __future__ import annotations

from model_layer.answers import ImageRejectedError, RejectionCode


def canvas(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as the first chunk states them (RFC 9649).

    Raises:
        ImageRejectedError: `truncated` or `corrupt`.
    """
    if len(data) < 30:
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case b"VP8L" if data[20] == 0x2F:
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise ImageRejectedError(RejectionCode.CORRUPT)
