"""Signals, noticed whatever the main thread is doing.

A Python signal handler runs between two instructions of the main thread: not while that waits in C, and where
it does run it may interrupt an import or a lock. So handlers here do nothing; the interpreter writes the
signal's number to a socket, and a thread reads it.
"""

import os
import signal
import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

STOPS = {
    signal.SIGTERM: "received SIGTERM",
    signal.SIGINT: "received Ctrl+C",
}
"""Signals that stop the service, with the line that says so."""

HANDLED = {*STOPS, signal.SIGHUP}
"""Signals that mean something."""


class SignalWatch:
    """Calls back, in a thread of its own, whenever a signal arrives; to be made in the main thread.

    Until `hand_over` a signal ends the process: it is made before anything heavy is imported.
    """

    def __init__(self) -> None:
        self._on_stop: Callable[[signal.Signals], None] = _end_before_start
        self._on_reload: Callable[[], None] = _ignore
        self._on_child: Callable[[], None] = _ignore
        self._had_terminal = _has_terminal()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*HANDLED, signal.SIGCHLD):
            signal.signal(number, _noted)
        Thread(target=self._dispatch, name="signals", daemon=True).start()

    def hand_over(
        self,
        on_stop: Callable[[signal.Signals], None],
        *,
        on_reload: Callable[[], None],
        on_child: Callable[[], None],
    ) -> None:
        """Say what is to be done from here on.

        Args:
            on_stop: Called for each signal that stops the service.
            on_reload: Called when the configuration is to be read anew.
            on_child: Called when a child process has ended.
        """
        self._on_stop, self._on_reload, self._on_child = on_stop, on_reload, on_child

    def _dispatch(self) -> None:
        while True:
            for number in self._reader.recv(64):
                received = signal.Signals(number)
                if received is signal.SIGCHLD:
                    self._on_child()
                elif received in STOPS:
                    self._on_stop(received)
                elif received is signal.SIGHUP:
                    self._hung_up()

    def _hung_up(self) -> None:
        # A terminal that is closed sends it, too, to say that nobody is there any more.
        if self._had_terminal and not _has_terminal():
            self._on_stop(signal.SIGTERM)
        else:
            self._on_reload()


def ignore_stops() -> None:
    """Have a worker outlive signals that are sent to the whole process group, as Ctrl-C in a terminal is.

    Main tells it when to stop. By a handler that does nothing rather than `SIG_IGN`: a program that the
    service starts has a handler reset, but would inherit being deaf.
    """
    for number in HANDLED:
        signal.signal(number, _noted)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _end_before_start(received: signal.Signals) -> None:
    # Nothing is set up: no logging to say it by, nothing to flush or to remove.
    os.write(2, f"{STOPS[received]}\nshutdown complete\n".encode())
    os._exit(0)


def _ignore() -> None:
    """Nothing was read yet, and nothing depends on children."""


def _noted(_number: int, _frame: Any) -> None:
    """Nothing: the wakeup socket has it."""
