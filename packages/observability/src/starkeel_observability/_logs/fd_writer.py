"""Writes whole lines to a file descriptor that other processes share."""

import fcntl
import os
import select
import stat
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PIECE_BYTES: Final = 4096
"""`PIPE_BUF`: a write of at most this size is atomic, and does not block if the pipe is writable."""
_STALL_INTERVAL_MS: Final = 500
_LOCK_RETRY_S: Final = 0.001


class FdWriter:
    """Writes lines whole, so that those of several processes on one pipe are not interleaved.

    Args:
        on_stall: Called twice per second while the reader is stalled.
    """

    def __init__(self, number: int, on_stall: Callable[[], None]) -> None:
        self._number = number
        self._on_stall = on_stall
        self._is_pipe = _is_pipe(number)
        self._nonblocking = _reopen_nonblocking(number) if self._is_pipe else None
        self._capacity = _pipe_capacity(number)
        self._poll = select.poll()
        self._poll.register(number, select.POLLOUT)
        self.blocked_since: float | None = None
        """Time (monotonic) since which the reader is stalled; `None` if it is not."""

    def write(self, lines: bytes) -> None:
        """Write lines; blocks until the reader accepts them.

        Raises:
            OSError: There is no reader any more.
        """
        # Locked, as more than `PIECE_BYTES` are written in several parts.
        is_locked = self._is_pipe and self._lock()
        try:
            left = memoryview(lines)
            while left:
                self._wait_writable()
                # Another process may have made the shared pipe non-blocking and filled it first.
                with suppress(BlockingIOError):
                    left = left[os.write(self._number, left[:PIECE_BYTES]) :]
        finally:
            if is_locked:
                self._unlock()

    def write_at_once(self, lines: bytes) -> bytes | None:
        """Write lines if that does not block.

        Returns:
            The rest, which must be written before anything else; `None` if nothing was written.
        """
        if self._nonblocking is None or len(lines) > self._capacity or not self._try_lock():
            return None
        written = 0
        try:
            if self._is_empty():
                # Does not block even if a process that ignores the lock fills the pipe first.
                written = os.write(self._nonblocking, lines)
        except OSError:
            # The writer thread encounters the same error and handles it.
            written = 0
        finally:
            if written in {0, len(lines)}:
                self._unlock()
        return lines[written:] if written else None

    def _is_empty(self) -> bool:
        return not any(fcntl.ioctl(self._number, termios.FIONREAD, bytes(4)))

    def _wait_writable(self) -> None:
        # Waiting in poll() rather than in write() makes a stall observable.
        if self._poll.poll(0):
            return
        self.blocked_since = time.monotonic()
        try:
            while not self._poll.poll(_STALL_INTERVAL_MS):
                self._on_stall()
        finally:
            self.blocked_since = None

    def _lock(self) -> bool:
        began = reported = time.monotonic()
        try:
            while not self._try_lock():
                if not self._is_pipe:
                    return False
                self.blocked_since = began
                if time.monotonic() - reported > _STALL_INTERVAL_MS / 1000:
                    reported = time.monotonic()
                    self._on_stall()
                time.sleep(_LOCK_RETRY_S)
        finally:
            self.blocked_since = None
        return True

    def _try_lock(self) -> bool:
        try:
            fcntl.lockf(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # The file does not support locks.
            self._is_pipe, self._nonblocking = False, None
            return False
        return True

    def _unlock(self) -> None:
        fcntl.lockf(self._number, fcntl.LOCK_UN)


def _reopen_nonblocking(number: int) -> int | None:
    """Open the same pipe again in non-blocking mode, which does not affect the other descriptors."""
    try:
        return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _pipe_capacity(number: int) -> int:
    try:
        return max(PIECE_BYTES, fcntl.fcntl(number, fcntl.F_GETPIPE_SZ))
    except (AttributeError, OSError):
        return PIECE_BYTES


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False
