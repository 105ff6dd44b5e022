"""A client of WebSockets that waits for the close frame (RFC 6455)."""

import base64
import contextlib
import secrets
import socket
import time

from .._target.address import Address
from .._target.message import parse_responses

_CLOSE = 8
_MASK = 0x80


def upgrade_request(path: str, address: Address, headers: list[tuple[str, str]]) -> bytes:
    """Return the opening handshake."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {address.authority}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class WebSocket:
    """A WebSocket.

    Args:
        connection: Its connection, after the request was sent.
        timeout_s: Seconds to wait for the response.

    Raises:
        OSError: The service does not upgrade the connection.
    """

    def __init__(self, connection: socket.socket, *, timeout_s: float) -> None:
        self._connection = connection
        self._data = b""
        deadline = time.monotonic() + timeout_s
        while b"\r\n\r\n" not in self._data:
            if not self._receive(deadline):
                raise ConnectionError("the connection ended before the upgrade")
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"101"]:
            answered = parse_responses(head + b"\r\n\r\n")
            raise ConnectionError(f"status {answered[0].status if answered else 'unknown'} instead of 101")

    def close_code(self, deadline: float) -> int | None:
        """Read to the end and return the code of the close frame; 1005 without one; None without a frame."""
        with contextlib.suppress(TimeoutError):
            while True:
                frame = self._frame()
                if frame is None:
                    if not self._receive(deadline):
                        return None
                elif frame[0] == _CLOSE:
                    self._confirm(frame[1])
                    return int.from_bytes(frame[1][:2], "big") if len(frame[1]) >= 2 else 1005
        return None

    def _receive(self, deadline: float) -> bool:
        self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            part = self._connection.recv(65536)
        except ConnectionError:
            return False
        self._data += part
        return bool(part)

    def _frame(self) -> tuple[int, bytes] | None:
        """Return code and content of the next complete frame, or None; servers do not mask them."""
        if len(self._data) < 2:
            return None
        size, start = self._data[1] & 127, 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(self._data[2:start], "big")
        if len(self._data) < start + size:
            return None
        frame = self._data[0] & 15, self._data[start : start + size]
        self._data = self._data[start + size :]
        return frame

    def _confirm(self, content: bytes) -> None:
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[position % 4] for position, byte in enumerate(content[:125]))
        with contextlib.suppress(OSError):
            self._connection.sendall(bytes([0x80 | _CLOSE, _MASK | len(masked)]) + mask + masked)
