"""Whole lines to stdout."""

import fcntl
import os
import select
import stat
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager


class LineWriter:
    """Writes lines whole and at once, so that those of several processes on one pipe never mix.

    One that cannot be written, as nobody reads any more, is lost and counted: no reason to stop serving.

    Args:
        descriptor: What to write to; none when the process was started without.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        # Entered again when what is collected as garbage meanwhile has something to say.
        self._lock = threading.RLock()
        self._is_pipe = descriptor is not None and _is_pipe(descriptor)
        self.lost = 0

    @classmethod
    def stdout(cls) -> "LineWriter":
        """Writes to the process's own stdout, whatever `sys.stdout` is by now."""
        # None when it was closed before the start: its number may be anything else's since.
        return cls(None if sys.__stdout__ is None else sys.__stdout__.fileno())

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def write(self, line: bytes) -> None:
        """Write one line, its end included."""
        if self._descriptor is None:
            return
        with self._lock:
            try:
                with self._alone(self._descriptor):
                    _write_all(self._descriptor, line)
            except OSError:
                self.lost += 1

    @contextmanager
    def _alone(self, descriptor: int) -> Generator[None]:
        """Keep other processes off the pipe: more than 4096 bytes (`PIPE_BUF`) may be taken in parts."""
        if not self._is_pipe:
            yield
            return
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        except OSError:
            self._is_pipe = False
            yield
            return
        try:
            yield
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _write_all(descriptor: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Somebody who shares the pipe made it non-blocking.
            select.select([], [descriptor], [])
