"""Signal handling in a thread of its own.

A Python signal handler runs between two instructions of the main thread: not while that thread waits in C,
and possibly in the middle of an import or while it holds a lock. Handlers here do nothing; the interpreter
writes the signal number to a socket (`signal.set_wakeup_fd`), and a thread reads it.
"""

import os
import signal
import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

STOP_SIGNALS = {signal.SIGTERM: "received SIGTERM", signal.SIGINT: "received Ctrl+C"}
"""Signals that stop the service, with their log message."""

HANDLED = {*STOP_SIGNALS, signal.SIGHUP}
"""Signals with an effect."""


class SignalDispatcher:
    """Calls handlers in a separate thread when signals arrive; must be created in the main thread.

    It is created before the heavy imports. Until `set_handlers` a stop signal ends the process.
    """

    def __init__(self) -> None:
        self._on_stop: Callable[[signal.Signals], object] = _exit_before_start
        self._on_second_stop: Callable[[signal.Signals], object] = _exit_before_start
        self._on_reload: Callable[[], object] = bool
        self._on_child: Callable[[], object] = bool
        self._had_terminal = _has_terminal()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*HANDLED, signal.SIGCHLD):
            signal.signal(number, _ignore_in_main_thread)
        Thread(target=self._dispatch, name="signals", daemon=True).start()

    def set_handlers(
        self,
        on_stop: Callable[[signal.Signals], None],
        *,
        on_second_stop: Callable[[signal.Signals], None],
        on_reload: Callable[[], None],
        on_child: Callable[[], None],
    ) -> None:
        """Set the handlers of the first and of further stop signals, of SIGHUP and of SIGCHLD."""
        self._on_second_stop, self._on_stop = on_second_stop, on_stop
        self._on_reload, self._on_child = on_reload, on_child

    def _dispatch(self) -> None:
        while True:
            for number in self._reader.recv(64):
                received = signal.Signals(number)
                if received is signal.SIGCHLD:
                    self._on_child()
                elif received in STOP_SIGNALS:
                    self._stop(received)
                elif received is signal.SIGHUP:
                    self._on_hangup()

    def _on_hangup(self) -> None:
        # A closed terminal sends SIGHUP as well; without its terminal the service stops.
        if self._had_terminal and not _has_terminal():
            self._stop(signal.SIGTERM)
        else:
            self._on_reload()

    def _stop(self, received: signal.Signals) -> None:
        handle, self._on_stop = self._on_stop, self._on_second_stop
        handle(received)


def ignore_stops() -> None:
    """Ignore stop signals to the process group, such as Ctrl-C: only the main process stops workers.

    The handler does nothing instead of being `SIG_IGN`, which programs started by the service would inherit.
    """
    for number in HANDLED:
        signal.signal(number, _ignore_in_main_thread)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _exit_before_start(received: signal.Signals) -> None:
    # Logging is not set up, and there is nothing to flush or remove.
    os.write(2, f"{STOP_SIGNALS[received]}\nshutdown complete\n".encode())
    os._exit(0)


def _ignore_in_main_thread(_number: int, _frame: Any) -> None:
    """The signal is read from the wakeup socket."""
