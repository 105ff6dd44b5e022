"""Starting server programs on a free port."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from .._process.process import Process
from .._wait import unused_port, wait_until

T = TypeVar("T")

_RETRIES = 2
_START_S = 60.0


def on_free_port(start: Callable[[int], T]) -> T:
    """Call a function with an unused port, again with another one if it raises `AssertionError`.

    Another program may take the port before the server does.
    """
    for _ in range(_RETRIES):
        with suppress(AssertionError):
            return start(unused_port())
    return start(unused_port())


def accepting(name: str, process: Process) -> Process:
    """Return the process of a PostgreSQL or Redis when it logs that it accepts connections.

    Raises:
        AssertionError: It ended or did not accept connections in time; the message contains its output.
    """
    try:
        wait_until(
            lambda: process.popen.poll() is not None or "eady to accept" in process.output.text(),
            timeout_s=_START_S,
            what=lambda: f"{name} to start\n{process.output.text()}",
        )
        assert process.popen.poll() is None, f"{name} ended while starting\n{process.output.text()}"
    except BaseException:
        process.close()
        raise
    return process
