"""Responses as they were received."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")
_NO_BODY = {204, 304}


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    Attributes:
        status: Status code.
        headers: Names as received, and values.
        body: Content, without the framing of chunks.
        is_complete: Whether the body ended as its framing declares.
        head: The status line and headers as text.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_complete: bool = True
    head: str = field(default="", repr=False)

    def get(self, name: str) -> str:
        """Return the values of a header joined by commas; empty without the header."""
        return ", ".join(self.get_all(name))

    def get_all(self, name: str) -> list[str]:
        """Return each value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def media_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.get("content-type").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body as text, with replacements."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON, or None if it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def excerpt(self) -> str:
        """The head and the beginning of the body."""
        body = self.text[:600]
        return f"{self.head}\n\n{body}".rstrip()


def parse_responses(data: bytes, *, is_head: bool = False, is_closed: bool = False) -> list[Response]:
    """Return the final responses at the beginning of the received bytes; 1xx are skipped.

    Args:
        data: The bytes.
        is_head: Whether the request was HEAD.
        is_closed: Whether the server has closed the connection.
    """
    found: list[Response] = []
    while match := _STATUS_LINE.match(data):
        end = re.search(rb"\r?\n\r?\n", data)
        if end is None:
            break
        head, rest = data[: end.start()], data[end.end() :]
        status = int(match[1])
        headers = tuple(_headers(head))
        if 100 <= status < 200:
            data = rest
            continue
        shell = Response(status, headers)
        body, data, is_complete = _body(shell, rest, is_head=is_head, is_closed=is_closed)
        found.append(Response(status, headers, body, is_complete, head.decode("latin-1")))
        if not is_complete:
            break
    return found


def _headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _body(shell: Response, rest: bytes, *, is_head: bool, is_closed: bool) -> tuple[bytes, bytes, bool]:
    if is_head or shell.status in _NO_BODY:
        return b"", rest, True
    if "chunked" in shell.get("transfer-encoding").lower():
        return _chunks(rest)
    length = shell.get("content-length")
    if length.isdigit():
        size = int(length)
        return rest[:size], rest[size:], len(rest) >= size
    return rest, b"", is_closed


def _chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    body = bytearray()
    while True:
        line, separator, rest = data.partition(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return bytes(body), b"", False
        if not separator or len(rest) < size + 2:
            return bytes(body), b"", False
        if size == 0:
            # Trailers end with an empty line.
            trailers_end = 2 if rest.startswith(b"\r\n") else rest.find(b"\r\n\r\n") + 4
            return bytes(body), rest[trailers_end:], trailers_end >= 2
        body += rest[:size]
        data = rest[size + 2 :]
