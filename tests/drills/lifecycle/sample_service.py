"""The sample service of the server's tests, as a process of the drill."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from packages.server.tests.sample import Samples, wait_until

from ...support.load import Load

__all__ = ["REQUESTS", "is_refused", "port_of", "sampling", "start_load", "wait_until"]

REQUESTS = int(os.environ.get("DRILL_REQUESTS", "3000"))
"""Requests that a drill sends at least; more outside CI."""


@contextmanager
def sampling(directory: Path) -> Iterator[Samples]:
    """Start processes of the sample service; afterwards no process and no temporary file may be left."""
    with ExitStack() as stack:
        samples = Samples(directory, stack)
        yield samples
    wait_until(lambda: not samples.processes(), timeout_s=10, what="no process left")
    assert list(samples.tmp.iterdir()) == []


def start_load(url: str, *, slow: int = 2, ready: str | None = "/health/ready") -> Load:
    """Start a load on a sample service, or on a load balancer in front of it."""
    return Load(url, slow=slow, ready=ready).start()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
