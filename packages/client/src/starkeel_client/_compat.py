"""Undocumented names of httpx2 and httpcore2 that this package uses."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import anyio
import httpx2

_CANCEL: Final = 8
"""Error code of a stream that is no longer needed (RFC 9113, 7)."""


class Connections(NamedTuple):
    """Numbers of connections of a pool, in use and idle, and of requests that wait for one."""

    used: int
    idle: int
    waiting: int


def connections_of(transport: httpx2.AsyncHTTPTransport) -> Connections | None:
    """Return the numbers of a pool; `None` if the installed release keeps them elsewhere."""
    with suppress(AttributeError, TypeError):
        pool: Any = transport._pool  # noqa: SLF001
        connections = [connection for connection in pool.connections if not connection.is_closed()]
        idle = sum(connection.is_idle() for connection in connections)
        waiting = sum(request.is_queued() for request in pool._requests)  # noqa: SLF001
        return Connections(len(connections) - idle, idle, waiting)
    return None


class RequestTrace:
    """Function that httpcore2 calls with the events of a request (its extension `trace`).

    Sets the timeout's header when the headers are sent, because connecting takes time. Ends the stream of an
    abandoned HTTP/2 request: httpcore2 forgets it, and the upstream would continue to work for it.

    Args:
        transport: Transport that sends the request.
        header: Name of the timeout's header.
        timeout: Returns the value of the header.
    """

    def __init__(
        self, transport: httpx2.AsyncBaseTransport, *, header: str, timeout: Callable[[], str]
    ) -> None:
        self._transport = transport
        self._header = header.lower().encode()
        self._timeout = timeout
        self._stream: tuple[Any, Any, int] | None = None
        """Connection, request and number of an HTTP/2 stream."""
        self._is_sending = False

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        """Handle an event."""
        if event.endswith("send_request_headers.started"):
            with suppress(AttributeError, KeyError, TypeError):
                self._before_headers(info["request"].headers)
            if event.startswith("http2."):
                self._is_sending = True
                self._stream = self._stream_of(info)
        elif event == "http2.send_request_body.complete":
            self._is_sending = False

    async def abandon(self) -> None:
        """Reset the stream; do nothing for HTTP/1.1, whose connection is closed."""
        if self._stream is None:
            return
        connection, request, stream_id = self._stream
        # The connection may be closed.
        with suppress(Exception):
            if self._is_sending:
                # Frames may be lost: the headers of further requests could not be decoded.
                connection._connection_error = True  # noqa: SLF001
                return
            connection._h2_state.reset_stream(stream_id, error_code=_CANCEL)  # noqa: SLF001
            with anyio.move_on_after(1, shield=True):
                await connection._write_outgoing_data(request)  # noqa: SLF001

    def _before_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        for index, (name, _) in enumerate(headers):
            if name.lower() == self._header:
                headers[index] = (name, self._timeout().encode())

    def _stream_of(self, info: dict[str, Any]) -> tuple[Any, Any, int] | None:
        with suppress(AttributeError, KeyError, TypeError):
            request, pool = info["request"], getattr(self._transport, "_pool")  # noqa: B009
            for pending in pool._requests:  # noqa: SLF001
                if pending.request is request:
                    return pending.connection._connection, request, info["stream_id"]  # noqa: SLF001
        return None
