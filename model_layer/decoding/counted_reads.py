"""A file in memory that may be read only so often: for parsers in Python whose work nothing else bounds."""

from __future__ import annotations

import io

from model_layer.answers import ImageRejectedError, RejectionCode


class CountedReads(io.BytesIO):
    """Raises `ImageRejectedError` (`too_costly`) at the first read beyond `most`."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._left = most

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ImageRejectedError(RejectionCode.TOO_COSTLY)
        return super().read(size)
