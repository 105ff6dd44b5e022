"""A client that sends bytes, also those that no HTTP library sends."""

import socket
from contextlib import suppress
from typing import NamedTuple

TIMEOUT_S = 30.0


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A connection to a service on this machine."""

    def __init__(self, url: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=TIMEOUT_S)
        self._received = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes, *, is_last: bool = False) -> None:
        # The server may have closed the connection already.
        with suppress(ConnectionError):
            if is_last:
                # The end arrives with the data: otherwise the response could be sent before it.
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            self._socket.sendall(data)
            if is_last:
                self._socket.shutdown(socket.SHUT_WR)

    def reply(self, *, has_body: bool) -> Reply:
        """Read one response to its end."""
        head, _, self._received = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name not in headers, f"{name} is sent twice"
            headers[name] = value
        status = int(first.split()[1])
        if status == 100:
            return self.reply(has_body=has_body)
        body = b""
        if has_body and status not in {204, 304}:
            if "content-length" in headers:
                body = self._exactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                body, _, self._received = self._until(b"0\r\n\r\n").partition(b"0\r\n\r\n")
            else:
                body = self._rest()
        return Reply(status, headers, body)

    def is_closed(self) -> bool:
        """Return whether the server closed the connection: another request gets no response."""
        assert self._received == b"", self._received
        self.send(b"GET /health/live HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n")
        rest = self._rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 200 ")
        return rest == b""

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            part = self._socket.recv(65_536)
            assert part, f"closed after {self._received!r}"
            self._received += part
        return self._received

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            part = self._socket.recv(65_536)
            assert part, f"closed after {self._received!r}"
            self._received += part
        body, self._received = self._received[:size], self._received[size:]
        return body

    def _rest(self) -> bytes:
        rest, self._received = self._received, b""
        with suppress(ConnectionResetError):
            while part := self._socket.recv(65_536):
                rest += part
        return rest
