"""Whole lines to a file descriptor that others write to as well."""

import fcntl
import os
import select
import stat
import termios
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

PIECE_BYTES: Final = 4096
"""What a pipe takes whole or not at all (`PIPE_BUF`), and at once when it says that it takes anything."""
_LOOK_AGAIN_MS: Final = 500
_LOCK_AGAIN_S: Final = 0.001


class FdWriter:
    """Writes lines whole, so that those of several processes on one pipe never mix.

    Args:
        number: What to write to.
        stalled: Called twice a second while nobody reads.
    """

    def __init__(self, number: int, stalled: Callable[[], None]) -> None:
        self._number = number
        self._stalled = stalled
        self._is_pipe = _is_pipe(number)
        self._own = _without_waiting(number) if self._is_pipe else None
        self._capacity = _capacity(number)
        self._poll = select.poll()
        self._poll.register(number, select.POLLOUT)
        self.blocked_since: float | None = None
        """Monotonic seconds since when nobody reads; none while somebody does."""

    def write(self, lines: bytes) -> None:
        """Write lines; waits for a reader for as long as it takes.

        Raises:
            OSError: Nobody reads any more.
        """
        with self._alone():
            left = memoryview(lines)
            while left:
                self._wait()
                try:
                    left = left[os.write(self._number, left[:PIECE_BYTES]) :]
                except BlockingIOError:
                    # Somebody who shares the pipe made it non-blocking, and was faster.
                    continue

    def write_at_once(self, lines: bytes) -> bytes | None:
        """Write lines if that takes no waiting.

        Returns:
            What is left, to be written next and nothing before it; none when nothing was written.
        """
        if self._own is None or len(lines) > self._capacity or not self._lock():
            return None
        written = 0
        try:
            if self._is_empty():
                # It does not wait, even if somebody who takes no lock was faster.
                written = os.write(self._own, lines)
        except OSError:
            # The thread that waits finds out what it is.
            written = 0
        finally:
            if written in {0, len(lines)}:
                self._unlock()
        return lines[written:] if written else None

    def _is_empty(self) -> bool:
        return not any(fcntl.ioctl(self._number, termios.FIONREAD, bytes(4)))

    def _wait(self) -> None:
        # Waited for here, not in write: that could not be told from outside.
        if self._poll.poll(0):
            return
        self.blocked_since = time.monotonic()
        try:
            while not self._poll.poll(_LOOK_AGAIN_MS):
                self._stalled()
        finally:
            self.blocked_since = None

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep other processes off the pipe: more than a piece is written in parts."""
        if not self._is_pipe or not self._locked():
            yield
            return
        try:
            yield
        finally:
            self._unlock()

    def _locked(self) -> bool:
        began = time.monotonic()
        told = began
        try:
            while not self._lock():
                if not self._is_pipe:
                    return False
                self.blocked_since = began
                if time.monotonic() - told > _LOOK_AGAIN_MS / 1000:
                    told = time.monotonic()
                    self._stalled()
                time.sleep(_LOCK_AGAIN_S)
        finally:
            self.blocked_since = None
        return True

    def _lock(self) -> bool:
        """Take the lock if nobody has it."""
        try:
            fcntl.lockf(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # It cannot be had here.
            self._is_pipe, self._own = False, None
            return False
        return True

    def _unlock(self) -> None:
        fcntl.lockf(self._number, fcntl.LOCK_UN)


def _without_waiting(number: int) -> int | None:
    """The same pipe, opened anew so as never to wait; others who have it go on as they do."""
    try:
        return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _capacity(number: int) -> int:
    """Of a pipe, in bytes, where it can be known."""
    try:
        return max(PIECE_BYTES, fcntl.fcntl(number, fcntl.F_GETPIPE_SZ))
    except (AttributeError, OSError):
        return PIECE_BYTES


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False
