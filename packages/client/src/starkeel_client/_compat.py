"""Undocumented names of httpx2 and httpcore2 that this package uses."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import httpx2

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Function that httpcore2 calls with the name of each event of a request, and its details."""


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


def set_header(info: dict[str, Any], name: str, value: str) -> None:
    """Replace a header of the request in the details of a trace event, before it is sent."""
    with suppress(AttributeError, KeyError, TypeError):
        headers: list[tuple[bytes, bytes]] = info["request"].headers
        expected = name.lower().encode()
        for index, (given, _) in enumerate(headers):
            if given.lower() == expected:
                headers[index] = (given, value.encode())
