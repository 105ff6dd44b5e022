"""Raw exchanges over one connection: the bytes that were sent and received are the evidence."""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .._rows.verdict import Evidence
from .address import Address
from .message import Response, parse_responses

_LARGEST_RESPONSE = 16 * 2**20
_SECRET_HEADER = re.compile(r"(?im)^((?:proxy-)?authorization|cookie):.*$")
_SHOWN = 900


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes that were sent over a connection, and those that came back.

    Attributes:
        sent: Bytes of the request.
        received: Bytes of the responses.
        is_closed: Whether the server closed the connection, within the time.
        seconds: Time from the first byte to the last event.
        is_head: Whether the request was HEAD.
    """

    sent: bytes
    received: bytes
    is_closed: bool
    seconds: float
    is_head: bool = False

    @property
    def responses(self) -> list[Response]:
        """All final responses."""
        return parse_responses(self.received, is_head=self.is_head, is_closed=self.is_closed)

    @property
    def status(self) -> int | None:
        """Status of the first response, None without one."""
        responses = self.responses
        return responses[0].status if responses else None

    def evidence(self, title: str) -> Evidence:
        """Return the exchange as evidence, without credentials."""
        end = "connection closed" if self.is_closed else "connection open"
        sent = _SECRET_HEADER.sub(r"\1: [redacted]", _printable(self.sent))
        lines = [f"> {line}" for line in sent.split("\n")]
        lines += [f"< {line}" for line in _printable(self.received).split("\n")]
        return Evidence(title, "\n".join([*lines, f"({end} after {self.seconds:.2f} s)"]))


def _printable(data: bytes) -> str:
    cut = data[:_SHOWN]
    text = cut.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    more = len(data) - len(cut)
    return f"{text}\n... {more} more bytes" if more > 0 else text


class Connector:
    """Opens connections to an address.

    Args:
        address: The address.
        tls: Context for https.
        timeout_s: Seconds to connect, and to wait for a response.
    """

    def __init__(self, address: Address, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._tls = tls

    def connect(self) -> socket.socket:
        """Return a new connection; raises OSError."""
        connection = socket.create_connection((self.address.ip, self.address.port), timeout=self.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=self.address.host)
        except OSError:
            connection.close()
            raise

    def exchange(
        self,
        data: bytes,
        *,
        expected_responses: int = 1,
        wait_for_close_s: float = 0.0,
        is_head: bool = False,
    ) -> Exchange:
        """Send bytes over a new connection and return what comes back.

        Args:
            data: Bytes to send.
            expected_responses: Number of responses after which to stop reading.
            wait_for_close_s: Seconds to go on reading after them, until the server closes.
            is_head: Whether the request is HEAD.

        Raises:
            OSError: The connection could not be opened.
        """
        with contextlib.closing(self.connect()) as connection:
            started = time.monotonic()
            _send(connection, data)
            received, is_closed = _receive(
                connection, started + self.timeout_s, expected_responses, wait_for_close_s, is_head=is_head
            )
            return Exchange(data, received, is_closed, time.monotonic() - started, is_head)


def _send(connection: socket.socket, data: bytes) -> None:
    # A server that refuses the beginning closes while the rest is sent; its response is still read.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError, ssl.SSLError):
        connection.sendall(data)


def _receive(
    connection: socket.socket, deadline: float, expected: int, wait_for_close_s: float, *, is_head: bool
) -> tuple[bytes, bool]:
    received = bytearray()
    is_enough = False
    while len(received) < _LARGEST_RESPONSE:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return bytes(received), False
        connection.settimeout(remaining)
        try:
            part = connection.recv(65536)
        except TimeoutError:
            return bytes(received), False
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            return bytes(received), True
        if not part:
            return bytes(received), True
        received += part
        if not is_enough and _is_enough(received, expected, is_head=is_head):
            if not wait_for_close_s:
                return bytes(received), False
            is_enough = True
            deadline = min(deadline, time.monotonic() + wait_for_close_s)
    return bytes(received), False


def _is_enough(received: bytearray, expected: int, *, is_head: bool) -> bool:
    complete = [item for item in parse_responses(bytes(received), is_head=is_head) if item.is_complete]
    return len(complete) >= expected


def request_bytes(
    method: str, target: str, authority: str, headers: Sequence[tuple[str, str]], body: bytes | None
) -> bytes:
    """Return a well-formed request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
