"""Steps between the application's response and its first byte on the wire."""

from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import Any, Protocol

from .headers import Header


class GateOrder(IntEnum):
    """When a gate runs."""

    STORE = 0
    """Writes something about the response in the unit of work."""
    COMMIT = 1
    """Commits the unit of work."""
    VERIFY = 2
    """Decides whether the response is sent at all."""


class Response:
    """A response that has not been sent; gates may change it.

    Args:
        status: HTTP status code.
        headers: Names in lower case.
        body: The whole body where it is buffered, else `None`.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Iterable[Header], body: bytes | None) -> None:
        self.status = status
        self.headers = list(headers)
        self.body = body


Gate = Callable[[Response], Awaitable[None]]


class Sends(Protocol):
    """Sends a message of the application past the gates."""

    def __call__(self, message: Any, /) -> Awaitable[None]: ...


class Gates:
    """Holds a response back until its gates have run.

    A gate that raises leaves the response unsent: the application may respond with an error, for which all
    gates run again.

    Args:
        send: Sends what has passed.
        opened: Called once the response has passed.
        failed: Called when a gate has raised.
    """

    __slots__ = ("_body", "_buffers", "_failed", "_gates", "_opened", "_send", "_start")

    def __init__(self, send: Sends, *, opened: Callable[[], None], failed: Callable[[], None]) -> None:
        self._send = send
        self._opened = opened
        self._failed = failed
        self._gates: list[tuple[GateOrder, Gate]] = []
        self._buffers: Callable[[int], bool] | None = None
        self._start: Any = None
        self._body = b""

    def add(self, gate: Gate, order: GateOrder) -> None:
        """Add a gate."""
        self._gates.append((order, gate))
        self._gates.sort(key=_order)

    def buffer(self, is_buffered: Callable[[int], bool]) -> None:
        """Hold the body back as well where `is_buffered(status)` is true."""
        self._buffers = is_buffered

    def keep_only(self, order: GateOrder) -> None:
        """Remove the gates of other orders, and what they hold."""
        self._gates = [pair for pair in self._gates if pair[0] == order]
        self._buffers = None
        self._start = None

    async def send(self, message: Any) -> None:
        """Take a message of the application."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start, self._body = message, b""
            if self._buffers is None or not self._buffers(message["status"]):
                await self._open(None)
        elif kind == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._open(self._body)
        else:
            if self._start is not None:
                # A body that the server reads from a file cannot be held back.
                await self._open(None)
            await self._send(message)

    async def _open(self, body: bytes | None) -> None:
        start, self._start = self._start, None
        response = Response(start["status"], start.get("headers", ()), body)
        try:
            for _, gate in self._gates:
                await gate(response)
        except BaseException:
            self._failed()
            raise
        self._opened()
        await self._send({**start, "status": response.status, "headers": response.headers})
        if response.body is not None:
            await self._send({"type": "http.response.body", "body": response.body, "more_body": False})


def _order(pair: tuple[GateOrder, Gate]) -> GateOrder:
    return pair[0]
