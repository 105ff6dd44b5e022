"""Signals, noticed whatever the main thread is doing.

A Python signal handler runs between two instructions of the main thread: not while that waits in C, and where
it does run it may interrupt an import or a lock. So handlers here do nothing; the interpreter writes the
signal's number to a socket, and a thread reads it.
"""

import signal
import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

STOPS = {
    signal.SIGTERM: "received SIGTERM",
    signal.SIGINT: "received Ctrl+C",
    signal.SIGHUP: "received SIGHUP",
}
"""Signals that stop the service, with the line that says so."""


def watch(on_stop: Callable[[signal.Signals], None], on_child: Callable[[], None]) -> None:
    """Call back, in a thread of its own, whenever a signal arrives; to be called in the main thread.

    Args:
        on_stop: Called for each signal that stops the service.
        on_child: Called when a child process has ended.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (*STOPS, signal.SIGCHLD):
        signal.signal(number, _noted)

    def dispatch(writer: socket.socket = writer) -> None:
        del writer  # kept from being collected, and so closed, as long as the thread runs
        while True:
            for number in reader.recv(64):
                received = signal.Signals(number)
                if received is signal.SIGCHLD:
                    on_child()
                elif received in STOPS:
                    on_stop(received)

    Thread(target=dispatch, name="signals", daemon=True).start()


def ignore_stops() -> None:
    """Have a worker outlive signals that are sent to the whole process group, as Ctrl-C in a terminal is.

    Main tells it when to stop. By a handler that does nothing rather than `SIG_IGN`: a program that the
    service starts has a handler reset, but would inherit being deaf.
    """
    for number in STOPS:
        signal.signal(number, _noted)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _noted(_number: int, _frame: Any) -> None:
    """Nothing: the wakeup socket has it."""
