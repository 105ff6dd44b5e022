"""Steps between the application's response and its first byte on the wire."""

from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from operator import itemgetter
from typing import Any, Final

from .config import Header

_MAX_BUFFERED_BYTES: Final = 64 * 1024 * 1024
_order: Final = itemgetter(0)


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
        headers: Names in lower case.
        body: The whole body where it is buffered, else `None`.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Iterable[Header], body: bytes | None) -> None:
        self.status = status
        self.headers = list(headers)
        self.body = body


Gate = Callable[[Response], Awaitable[None]]


class Gates:
    """Holds a response back until its gates have run.

    A gate that raises leaves the response unsent: the application may respond with an error, for which all
    gates run again.

    Args:
        send: Sends what has passed.
        opened: Called once the response has passed.
        failed: Called when a gate has raised.
    """

    __slots__ = (
        *("_failed", "_opened", "_parts", "_send", "_size", "_start", "gates", "is_buffered", "is_running"),
    )

    def __init__(
        self,
        send: Callable[[Any], Awaitable[None]],
        *,
        opened: Callable[[], None],
        failed: Callable[[], Awaitable[None]],
    ) -> None:
        self._send = send
        self._opened = opened
        self._failed = failed
        self.gates: tuple[tuple[GateOrder, Gate], ...] = ()
        self.is_buffered: Callable[[int], bool] | None = None
        """Returns for a status whether the body is held back as well."""
        self._start: Any = None
        self._parts: list[bytes] = []
        self._size = 0
        self.is_running = False

    async def send(self, message: Any) -> None:
        """Take a message of the application.

        Raises:
            ValueError: The body is too large to be held back.
        """
        kind = message["type"]
        if kind == "http.response.start":
            self._start, self._parts, self._size = message, [], 0
            if self.is_buffered is None or not self.is_buffered(message["status"]):
                await self._open(None)
        elif kind == "http.response.body" and self._start is not None:
            self._parts.append(part := message.get("body", b""))
            self._size += len(part)
            if self._size > _MAX_BUFFERED_BYTES:
                self._start = None
                await self._failed()
                raise ValueError(f"a response of more than {_MAX_BUFFERED_BYTES} bytes cannot be held back")
            if not message.get("more_body", False):
                await self._open(b"".join(self._parts))
        else:
            if self._start is not None:
                # A body that the server reads from a file cannot be held back.
                await self._open(None)
            await self._send(message)

    async def _open(self, body: bytes | None) -> None:
        start, self._start, self._parts = self._start, None, []
        response = Response(start["status"], start.get("headers", ()), body)
        self.is_running = True
        try:
            for _, gate in sorted(self.gates, key=_order):
                await gate(response)
        except BaseException:
            self.is_running = False
            await self._failed()
            raise
        self.is_running = False
        self._opened()
        await self._send({**start, "status": response.status, "headers": response.headers})
        if response.body is not None:
            await self._send({"type": "http.response.body", "body": response.body, "more_body": False})
