"""Interpreters that will be workers: started first, told later what to do.

Most of what a worker imports is the same for every service and configuration. So the first one is started
before main reads the configuration, and imports meanwhile; orders reach it by a socket.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from time import sleep

from .._config.exit_codes import STOPPED, WORKER_KILLED, leave
from .._process.signals import HANDLED

_ORPHANED_S = 60.0
"""Seconds a worker whose main is gone may take to stop by itself; then it is ended, stuck as it is."""
_MOST_DESCRIPTORS = 16
_END = b"\n"


class SpareProcess:
    """An interpreter that waits for orders."""

    def __init__(self) -> None:
        # Kept for as long as this process lives: its end tells the other one that main is gone.
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = _spawned(theirs.fileno())

    def order(self, spec: bytes, descriptors: Sequence[int]) -> None:
        """Tell it what to do.

        Args:
            spec: One line, without its end.
            descriptors: Files it is to have, too; numbers are its own.
        """
        rest = spec + _END
        # Whoever watches over it finds out when it has ended.
        with suppress(OSError):
            sent = socket.send_fds(self._socket, [rest], descriptors)
            self._socket.sendall(rest[sent:])


class CommandChannel:
    """The other side: receives orders in a thread, and notices the end of main from the first moment on.

    Args:
        descriptor: Of the socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._spec: SimpleQueue[tuple[bytes, list[int]]] = SimpleQueue()
        self.orphaned = Event()
        """Set when main is gone."""
        Thread(target=self._run, name="lifeline", daemon=True).start()

    def spec(self) -> tuple[bytes, list[int]]:
        """Wait for orders and the descriptors that came with them."""
        return self._spec.get()

    def _run(self) -> None:
        with suppress(OSError):
            self._spec.put(self._received())
            self._socket.recv(1)
        self.orphaned.set()
        sleep(_ORPHANED_S)
        leave(WORKER_KILLED)

    def _received(self) -> tuple[bytes, list[int]]:
        spec, descriptors = b"", list[int]()
        while not spec.endswith(_END):
            part, found, _, _ = socket.recv_fds(self._socket, 65_536, _MOST_DESCRIPTORS)
            if not part:
                # Nothing was begun: there is nothing to end in order.
                leave(STOPPED)
            spec += part
            descriptors.extend(found)
        return spec, descriptors


def _spawned(descriptor: int) -> "subprocess.Popen[bytes]":
    # A fresh interpreter, never a fork: main has threads, and a fork would copy their locks.
    command = [sys.executable, *_interpreter_options(), "-m", "starkeel_server._worker", str(descriptor)]
    # Until the worker has its own handlers, a signal to the process group must not end it. Blocked signals
    # are inherited, so they are blocked before it exists.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            command, stdin=subprocess.DEVNULL, pass_fds=(descriptor,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter_options() -> list[str]:
    """Options that main's own interpreter was given, `-X` and `-W` for two."""
    given = sys.orig_argv[1:]
    return given[: given.index("-m")] if "-m" in given else []
