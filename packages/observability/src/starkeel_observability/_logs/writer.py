"""Lines to stdout, in a thread of their own: whoever logs never waits for whoever reads."""

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from .fd_writer import PIECE_BYTES, FdWriter
from .queue import LineQueue

_GATHER_S: Final = 0.005
"""Seconds that a line waits for others to go with it."""
_GIVE_UP_S: Final = 0.25
"""Seconds without a reader after which nobody who ends waits for one."""
_WARN: Final = 30

Counts = Mapping[str, int]


class LineWriter:
    """Takes lines at once and writes them soon.

    What cannot be written, as nobody reads (any more), is dropped and counted: no reason to stop serving.

    Args:
        descriptor: What to write to; none when the process was started without.
        queue: Where lines wait.
    """

    _is_asleep: bool
    _wake: threading.Semaphore

    def __init__(self, descriptor: int | None, queue: LineQueue | None = None) -> None:
        self._number = descriptor
        self._queue = LineQueue() if queue is None else queue
        self._descriptor = None if descriptor is None else FdWriter(descriptor, self._publish)
        self._published: Counts = self._queue.dropped()
        self._told = self._published
        self._is_closed = False
        self.on_drop: Callable[[Counts], None] = _nothing
        """Called in the writer's thread with how many were dropped since, by level."""
        self.render_dropped: Callable[[Counts], bytes] | None = None
        """Makes the line that says what was dropped, once lines flow again."""
        self._start()
        forked = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: _call(forked))

    @classmethod
    def stdout(cls) -> "LineWriter":
        """Writes to the process's own stdout, whatever `sys.stdout` is by now."""
        # None when it was closed before the start: its number may be anything else's since.
        return cls(None if sys.__stdout__ is None else sys.__stdout__.fileno())

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on."""
        return self._number is not None and os.isatty(self._number)

    def write(self, level: int, lines: bytes, count: int = 1) -> None:
        """Have one line written, its end included, or several together.

        Args:
            level: How severe it is, as the standard library's numbers.
            lines: The line.
            count: How many lines.
        """
        if self._descriptor is None:
            return
        with self._queue.lock:
            if len(lines) >= PIECE_BYTES and self._is_asleep:
                # So many at once are not worth waking somebody for, if nobody keeps them waiting.
                left = self._descriptor.write_at_once(lines)
                lines = lines if left is None else left
                if not lines:
                    return
            self._queue.put(level, lines, count)
            if self._is_asleep:
                self._is_asleep = False
                self._wake.release()
        if self._is_closed:
            self.flush(timeout_s=_GIVE_UP_S)

    def flush(self, *, timeout_s: float) -> bool:
        """Wait until everything is written; whether it is. Nobody who has stopped reading is waited for.

        Args:
            timeout_s: Seconds it may take.
        """
        until = time.monotonic() + timeout_s
        self._hurry.set()
        try:
            while not self._is_asleep:
                if time.monotonic() >= until or self._is_stalled() or not self._thread_lives():
                    return False
                self._idle.wait(0.01)
        finally:
            self._hurry.clear()
        return True

    def close(self, *, timeout_s: float) -> None:
        """Flush, now and after every line from here on: the process may end at any moment.

        Args:
            timeout_s: Seconds it may take.
        """
        self._is_closed = True
        self.flush(timeout_s=timeout_s)

    def _start(self) -> None:
        self._is_asleep = True
        self._wake = threading.Semaphore(0)
        self._hurry = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        if self._descriptor is not None:
            self._thread = threading.Thread(
                target=self._run, args=(self._descriptor,), name="log-writer", daemon=True
            )
            self._thread.start()

    def _after_fork(self) -> None:
        # The parent writes what waited.
        self._queue = LineQueue()
        self._published = self._told = self._queue.dropped()
        self._start()

    def _thread_lives(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _is_stalled(self) -> bool:
        since = None if self._descriptor is None else self._descriptor.blocked_since
        return since is not None and time.monotonic() - since > _GIVE_UP_S

    def _run(self, descriptor: FdWriter) -> None:
        while True:
            self._wake.acquire()
            self._idle.clear()
            self._hurry.wait(_GATHER_S)
            # A fault in here must not be the end of every line to come.
            with suppress(Exception):
                self._write_all(descriptor)
            self._idle.set()

    def _write_all(self, descriptor: FdWriter) -> None:
        while True:
            lines = self._queue.take(PIECE_BYTES)
            if not lines:
                self._publish()
                self._tell()
                with self._queue.lock:
                    if self._queue.is_empty:
                        self._is_asleep = True
                        return
                continue
            try:
                descriptor.write(b"".join([line for _, line, _ in lines]))
            except OSError:
                self._queue.lose(lines)
                # Nobody is left to be told.
                self._told = self._queue.dropped()

    def _publish(self) -> None:
        dropped = self._queue.dropped()
        if dropped != self._published:
            self.on_drop(_since(self._published, dropped))
            self._published = dropped

    def _tell(self) -> None:
        dropped = self._queue.dropped()
        if dropped != self._told and self.render_dropped is not None:
            self._queue.put(_WARN, self.render_dropped(_since(self._told, dropped)))
            self._told = dropped


def _since(before: Counts, now: Counts) -> Counts:
    return {level: count - before[level] for level, count in now.items() if count > before[level]}


def _nothing(_: Counts) -> None:
    """Nobody counts."""


def _call(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    found = method()
    if found is not None:
        found()
