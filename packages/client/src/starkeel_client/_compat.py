"""Undocumented names of httpx2 and httpcore2 that this package uses."""

from contextlib import suppress
from typing import Any, NamedTuple

import httpx2


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
