"""Worker interpreters that are started before their command is known.

Most of what a worker imports does not depend on the service or its configuration. The first worker's
interpreter is started before the main process reads the configuration and imports meanwhile. Command and
notifications of changes on the scoreboard are sent over a socket pair.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
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
_NOTICE = b"\0"


class SpareProcess:
    def __init__(self) -> None:
        # Never closed: the child detects the end of this process by the end of the connection.
        self._socket, child_socket = socket.socketpair()
        with child_socket:
            self.process = _spawn(child_socket.fileno())
        self.is_connected = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def send_command(self, command: bytes, descriptors: Sequence[int]) -> None:
        """Send the command, one line without its end, and the descriptors it refers to."""
        data = command + _END
        # The supervisor detects a process that has ended.
        with suppress(OSError):
            sent = socket.send_fds(self._socket, [data], descriptors)
            self._socket.sendall(data[sent:])

    def notify(self) -> None:
        """Let the worker read the scoreboard; called after the command was sent."""
        _notify(self._socket)

    def read_notices(self) -> None:
        """Discard the notices of the worker, which are readable."""
        with suppress(OSError):
            self.is_connected = bool(self._socket.recv(4096))


class CommandChannel:
    """The child's end: a thread receives the command and notices and detects the end of the main process."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._commands: SimpleQueue[tuple[bytes, list[int]]] = SimpleQueue()
        self.on_notice: Callable[[], object] = bool
        """Called in the thread when the scoreboard has changed or the main process has ended."""
        self.orphaned = Event()
        """Set when the main process has ended."""
        Thread(target=self._run, name="command-channel", daemon=True).start()

    def receive(self) -> tuple[bytes, list[int]]:
        return self._commands.get()

    def notify(self) -> None:
        """Let the main process read the scoreboard."""
        _notify(self._socket)

    def _run(self) -> None:
        with suppress(OSError):
            self._commands.put(self._read_command())
            while self._socket.recv(4096):
                self.on_notice()
        self.orphaned.set()
        self.on_notice()
        sleep(_ORPHAN_GRACE_S)
        leave(WORKER_KILLED)

    def _read_command(self) -> tuple[bytes, list[int]]:
        received, descriptors = b"", list[int]()
        # Notices may follow the command; the worker reads the scoreboard anyway before it waits for one.
        while _END not in received:
            part, passed, _, _ = socket.recv_fds(self._socket, 65_536, _MAX_DESCRIPTORS)
            if not part:
                # The main process ended before it sent a command; there is nothing to clean up.
                leave(STOPPED)
            received += part
            descriptors.extend(passed)
        return received.partition(_END)[0], descriptors


def _notify(connection: socket.socket) -> None:
    # A full buffer contains enough notices; a process that has ended is detected otherwise.
    with suppress(OSError):
        connection.send(_NOTICE, socket.MSG_DONTWAIT)


def _spawn(descriptor: int) -> "subprocess.Popen[bytes]":
    # Not a fork: the main process has threads, and a fork would copy their locks.
    arguments = sys.orig_argv[1:]
    options = arguments[: arguments.index("-m")] if "-m" in arguments else []
    command = [sys.executable, *options, "-m", "starkeel_server._worker", str(descriptor)]
    # A signal to the process group must not end the child before it has handlers. Blocked signals are
    # inherited.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            command, stdin=subprocess.DEVNULL, pass_fds=(descriptor,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
