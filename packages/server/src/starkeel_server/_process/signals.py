"""Signal handling in a thread of its own.

A Python signal handler runs between two instructions of the main thread: not while that thread waits in C,
and possibly in the middle of an import or while it holds a lock. Handlers here do nothing; the interpreter
writes the signal number to a socket (`signal.set_wakeup_fd`), and a thread reads it.
"""

import os
import signal
import socket
import time
from threading import Thread
from typing import Any, Protocol

from .._config.exit_codes import SECOND_SIGNAL

STOP_SIGNALS = {signal.SIGTERM: "received SIGTERM", signal.SIGINT: "received Ctrl+C"}
"""Signals that stop the service, with their log message."""

HANDLED = {*STOP_SIGNALS, signal.SIGHUP, signal.SIGQUIT}
"""Signals with an effect."""

REPEATED_AFTER_S = 1.0
"""Seconds from which a second Ctrl-C is another one: a terminal and a wrapper may both send the first."""


class SignalHandler(Protocol):
    """Called in the signal thread."""

    def on_stop(self, received: signal.Signals) -> None: ...

    def on_repeated_stop(self, received: signal.Signals) -> None: ...

    def on_quit(self, message: str) -> None: ...

    def on_reload(self) -> None: ...

    def on_child(self) -> None: ...


class SignalDispatcher:
    """Calls a handler in a separate thread when signals arrive; must be created in the main thread.

    It is created before the heavy imports. Without a handler, a stop signal ends the process.
    """

    handler: SignalHandler | None = None

    def __init__(self) -> None:
        self._is_stopping = False
        self._interrupted_at: float | None = None
        # With `nohup`, SIGHUP is ignored when the process starts: a closed terminal must not stop it.
        is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._had_terminal = not is_detached and _has_terminal()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*HANDLED, signal.SIGCHLD):
            signal.signal(number, _ignore_in_main_thread)
        # The parent may have blocked them.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        Thread(target=self._dispatch, name="signals", daemon=True).start()

    def _dispatch(self) -> None:
        while True:
            for number in self._reader.recv(64):
                received = signal.Signals(number)
                # A closed terminal sends SIGHUP as well; without its terminal the service stops.
                if received is signal.SIGHUP and self._had_terminal and not _has_terminal():
                    received = signal.SIGTERM
                if received in STOP_SIGNALS:
                    self._stop(received)
                elif received is signal.SIGQUIT:
                    self._quit("received SIGQUIT: exiting immediately")
                elif self.handler is not None and received is signal.SIGCHLD:
                    self.handler.on_child()
                elif self.handler is not None and received is signal.SIGHUP:
                    self.handler.on_reload()

    def _stop(self, received: signal.Signals) -> None:
        if self.handler is None:
            # Logging is not set up, and there is nothing to flush or remove.
            os.write(2, f"{STOP_SIGNALS[received]}\nshutdown complete\n".encode())
            os._exit(0)
        was_stopping, self._is_stopping = self._is_stopping, True
        interrupted_at = self._interrupted_at
        if received is signal.SIGINT:
            now = time.monotonic()
            self._interrupted_at = interrupted_at or now
            if interrupted_at is not None and now - interrupted_at >= REPEATED_AFTER_S:
                self._quit("received Ctrl+C again: exiting immediately")
        # A repeated SIGTERM never shortens the drain: `timeout` and `tini -g` send it to process and group.
        (self.handler.on_repeated_stop if was_stopping else self.handler.on_stop)(received)

    def _quit(self, message: str) -> None:
        if self.handler is None:
            os.write(2, f"{message}\n".encode())
            os._exit(SECOND_SIGNAL)
        self.handler.on_quit(message)


def ignore_stops() -> None:
    """Ignore stop signals to the process group, such as Ctrl-C: only the main process stops workers.

    The handler does nothing instead of being `SIG_IGN`, which programs started by the service would inherit.
    """
    for number in HANDLED:
        signal.signal(number, _ignore_in_main_thread)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _ignore_in_main_thread(_number: int, _frame: Any) -> None:
    """The signal is read from the wakeup socket."""
