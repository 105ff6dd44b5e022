"""Waiting for conditions, and unused ports."""

import socket
import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.02


def wait_until(
    condition: Callable[[], T], *, timeout_s: float = 30.0, what: str | Callable[[], str] = ""
) -> T:
    """Return what the condition returns as soon as that is true.

    Args:
        condition: Asked again and again.
        timeout_s: Seconds after which the wait has failed.
        what: What is waited for; a function is called when the wait has failed, to tell how things stand.

    Raises:
        AssertionError: It never was true in time.
    """
    until = time.monotonic() + timeout_s
    pause = Event()
    while not (found := condition()):
        if time.monotonic() >= until:
            told = what() if callable(what) else what
            raise AssertionError(f"waited {timeout_s:g} s in vain for {told or condition}")
        pause.wait(_PAUSE_S)
    return found


def unused_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
