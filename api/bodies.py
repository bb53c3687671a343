"""What a client sends, counted while it arrives: a raw body, or the one file of a form.

Nothing is written to the disk. A body that is too large is refused as soon as that is known: by its Content-Length, or,
where that lies or is missing, by the byte that is one too many. A body has a time in which it must be complete.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

BODY_SECONDS = 60.0
_FORM_BYTES = 2**16
"""Of a form's boundaries, headers and fields, on top of its file."""
_MOST_FIELDS = 16


@dataclass(slots=True)
class Form:
    """A form of plain fields and one file."""

    fields: dict[str, str] = field(default_factory=dict)
    file: bytes | None = None


async def read_image(request: Request, most: int, too_large: str) -> bytes:
    """The image in the body of `request`: the body itself, or the file of a form.

    Raises:
        Problem: 400, 408, or 413 with the sentence `too_large` for an image of more than `most` bytes.
        ClientDisconnect: the client left.
    """
    if not _is_form(request):
        content = bytearray()
        async for chunk in _counted(request, most, too_large):
            content += chunk
        return bytes(content)
    form = await read_form(request, most, too_large)
    if form.file is None:
        raise Problem(400, "malformed_body", "The form holds no file; send the image as a part with a file name.")
    return form.file


async def read_form(request: Request, most: int, too_large: str) -> Form:
    """The form in the body of `request`, with a file of at most `most` bytes; raises as `read_image` does."""
    if not _is_form(request):
        raise Problem(415, "not_a_form", "Send the file as multipart/form-data.")
    _, options = parse_options_header(request.headers.get("content-type"))
    try:
        reader = _FormReader(options.get(b"boundary", b""), most, too_large)
        async for chunk in _counted(request, most + _FORM_BYTES, too_large):
            reader.write(chunk)
    except (FormParserError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_body", "The body is not a form as its Content-Type says.") from error
    return reader.form()


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").split(";")[0].strip().lower() == "multipart/form-data"


async def _counted(request: Request, most: int, too_large: str) -> AsyncIterator[bytes]:
    """The chunks of the body; none once there are more than `most` bytes or `BODY_SECONDS` are over."""
    refused = Problem(413, "too_large", too_large)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > most:
        raise refused
    count = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                count += len(chunk)
                if count > most:
                    raise refused
                yield chunk
    except TimeoutError:
        sentence = f"The body was not complete after {BODY_SECONDS:.0f} seconds."
        raise Problem(408, "too_slow", sentence) from None


class _FormReader:
    """Collects the parts of a form as the parser finds them."""

    def __init__(self, boundary: bytes, most: int, too_large: str) -> None:
        self._most = most
        self._too_large = too_large
        self._form = Form()
        self._fields = 0
        self._complete = False
        self._header_name, self._header_value = b"", b""
        self._disposition: dict[bytes, bytes] = {}
        self._content = bytearray()
        if not boundary:
            raise FormParserError("no boundary")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_to_name,
                "on_header_value": self._add_to_value,
                "on_header_end": self._end_header,
                "on_part_data": self._add_data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Raises FormParserError for what is no form, Problem for one that is not wanted."""
        self._parser.write(chunk)

    def form(self) -> Form:
        """The form, once all of it is written."""
        if not self._complete:
            raise Problem(400, "malformed_body", "The form breaks off before its last boundary.")
        return self._form

    def _begin(self) -> None:
        self._disposition, self._content = {}, bytearray()

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, self._disposition = parse_options_header(self._header_value.decode("latin-1"))
        self._header_name, self._header_value = b"", b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        is_file = b"filename" in self._disposition
        if len(self._content) + end - start > (self._most if is_file else _FORM_BYTES):
            raise Problem(413, "too_large", self._too_large)
        self._content += data[start:end]

    def _end(self) -> None:
        if b"filename" in self._disposition:
            if self._form.file is not None:
                raise Problem(400, "several_files", "The form holds several files; send one image with each request.")
            self._form.file = bytes(self._content)
            return
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise Problem(400, "malformed_body", f"The form has more than {_MOST_FIELDS} fields.")
        name = self._disposition.get(b"name", b"").decode()
        self._form.fields[name] = self._content.decode()

    def _finish(self) -> None:
        self._complete = True
