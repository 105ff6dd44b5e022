"""Worker interpreters that are started before their command is known.

Most of what a worker imports does not depend on the service or its configuration. The first worker's
interpreter is started before the main process reads the configuration and imports meanwhile; the command is
sent to it over a socket pair.
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

_ORPHAN_GRACE_S = 60.0
"""Seconds a worker may take to stop after the main process ended; then it exits, even if it is blocked."""
_MAX_DESCRIPTORS = 16
_END = b"\n"


class SpareProcess:
    def __init__(self) -> None:
        # Never closed: the child detects the end of this process by the end of the connection.
        self._socket, child_socket = socket.socketpair()
        with child_socket:
            self.process = _spawn(child_socket.fileno())

    def send_command(self, command: bytes, descriptors: Sequence[int]) -> None:
        """Send the command, one line without its end, and the descriptors it refers to."""
        data = command + _END
        # The supervisor detects a process that has ended.
        with suppress(OSError):
            sent = socket.send_fds(self._socket, [data], descriptors)
            self._socket.sendall(data[sent:])


class CommandChannel:
    """The child's end: receives the command in a thread and detects the end of the main process."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._commands: SimpleQueue[tuple[bytes, list[int]]] = SimpleQueue()
        self.orphaned = Event()
        """Set when the main process has ended."""
        Thread(target=self._run, name="command-channel", daemon=True).start()

    def receive(self) -> tuple[bytes, list[int]]:
        return self._commands.get()

    def _run(self) -> None:
        with suppress(OSError):
            self._commands.put(self._read_command())
            self._socket.recv(1)
        self.orphaned.set()
        sleep(_ORPHAN_GRACE_S)
        leave(WORKER_KILLED)

    def _read_command(self) -> tuple[bytes, list[int]]:
        command, descriptors = b"", list[int]()
        while not command.endswith(_END):
            part, received, _, _ = socket.recv_fds(self._socket, 65_536, _MAX_DESCRIPTORS)
            if not part:
                # The main process ended before it sent a command; there is nothing to clean up.
                leave(STOPPED)
            command += part
            descriptors.extend(received)
        return command, descriptors


def _spawn(descriptor: int) -> "subprocess.Popen[bytes]":
    # Not a fork: the main process has threads, and a fork would copy their locks.
    command = [sys.executable, *_interpreter_options(), "-m", "starkeel_server._worker", str(descriptor)]
    # A signal to the process group must not end the child before it has handlers. Blocked signals are
    # inherited.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            command, stdin=subprocess.DEVNULL, pass_fds=(descriptor,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter_options() -> list[str]:
    """Return the options of this interpreter, such as `-X` and `-W`."""
    arguments = sys.orig_argv[1:]
    return arguments[: arguments.index("-m")] if "-m" in arguments else []
