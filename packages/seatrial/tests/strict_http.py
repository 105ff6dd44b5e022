"""A strict reader of HTTP/1.1, which named defects make lenient."""

import socket
from dataclasses import dataclass, field

_HEAD_LIMIT = 65536
_COUNT_LIMIT = 200
_BODY_LIMIT = 2**20


class Refused(Exception):
    """A request that is not read to its end; the connection is closed."""

    def __init__(self, status: int) -> None:
        self.status = status


@dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass
class Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Connection:
    """Bytes of a client, with a strict reader of HTTP/1.1 on top."""

    def __init__(self, stream: socket.socket, defects: frozenset[str]) -> None:
        self.stream = stream
        self.defects = defects
        self.buffer = b""

    def more(self) -> None:
        part = self.stream.recv(65536)
        if not part:
            raise ConnectionResetError
        self.buffer += part

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def read(self) -> Request:
        limit = 2**26 if self.defects & {"unlimited header size", "unlimited target"} else _HEAD_LIMIT
        if "unlimited header count" in self.defects:
            limit = 2**20 - 1
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > limit:
                raise Refused(431)
            self.more()
        first, *lines = self.buffer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        self.buffer = self.buffer.partition(b"\r\n\r\n")[2]
        request = Request(*self._request_line(first), self._headers(lines))
        self._check_limits(request)
        self._check_host(request)
        request.body = self._body(request)
        return request

    def _check_limits(self, request: Request) -> None:
        if len(request.headers) > _COUNT_LIMIT and "unlimited header count" not in self.defects:
            raise Refused(431)
        if len(request.target) > _HEAD_LIMIT and "unlimited target" not in self.defects:
            raise Refused(414)
        values = sum(len(value) for _, value in request.headers)
        if values > _HEAD_LIMIT and "unlimited header size" not in self.defects:
            raise Refused(431)

    def _check_host(self, request: Request) -> None:
        hosts = [value for name, value in request.headers if name.lower() == "host"]
        if len(hosts) != 1 and "any host" not in self.defects:
            raise Refused(400)

    @staticmethod
    def _request_line(first: str) -> tuple[str, str]:
        parts = first.split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
            raise Refused(400)
        return parts[0], parts[1]

    def _headers(self, lines: list[str]) -> list[tuple[str, str]]:
        found = []
        for line in lines:
            name, colon, value = line.partition(":")
            is_token = name.replace("-", "a").replace("_", "a").isalnum() and name.isascii()
            if "lenient header names" in self.defects and not name.lower().startswith("transfer"):
                found.append((name.strip(), value.strip()))
                continue
            if not colon or not is_token:
                raise Refused(400)
            found.append((name, value.strip(" \t")))
        return found

    def _body(self, request: Request) -> bytes:
        lengths = [value for name, value in request.headers if name.lower() == "content-length"]
        codings = [value for name, value in request.headers if name.lower() == "transfer-encoding"]
        if lengths and codings and "both lengths" not in self.defects:
            raise Refused(400)
        if codings:
            if codings != ["chunked"]:
                if "any coding" in self.defects:
                    return b""
                raise Refused(400)
            return self._chunks()
        if not lengths:
            return b""
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            if "first length" in self.defects:
                return b""
            raise Refused(400)
        size = int(lengths[0])
        if size > _BODY_LIMIT and "unlimited body" not in self.defects:
            raise Refused(413)
        return self.exactly(size)

    def _chunks(self) -> bytes:
        body = b""
        while True:
            text = self.line()
            if not text or not all(char in b"0123456789abcdefABCDEF" for char in text) or len(text) > 8:
                if "any chunk" not in self.defects:
                    raise Refused(400)
                text = b"5"
            size = int(text, 16)
            body += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise Refused(400)
            if size == 0:
                return body
