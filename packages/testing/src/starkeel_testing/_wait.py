"""Waiting for conditions, and unused ports."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_S = 0.02
_RETRIES = 2


def wait_until(
    condition: Callable[[], T], *, timeout_s: float = 30.0, what: str | Callable[[], str] = ""
) -> T:
    """Call a condition until its result is true, and return that result.

    Args:
        condition: Called at least once, then every 20 ms.
        timeout_s: Seconds until the wait fails.
        what: The expected state, for the error message; a function is called only when the wait fails.

    Raises:
        AssertionError: The result was not true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() >= deadline:
            expected = what() if callable(what) else what
            raise AssertionError(f"timed out after {timeout_s:g} s waiting for {expected or condition}")
        time.sleep(_INTERVAL_S)
    return result


def unused_port() -> int:
    """Return a port of 127.0.0.1 that was free at the time of the call."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on_free_port(start: Callable[[int], T]) -> T:
    """Call a function with an unused port, again with another one if it raises `AssertionError`.

    Another program may take the port before the server does.
    """
    for _ in range(_RETRIES):
        with suppress(AssertionError):
            return start(unused_port())
    return start(unused_port())
