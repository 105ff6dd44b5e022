"""Whole lines to a file descriptor that others write to as well."""

import fcntl
import os
import select
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

PIECE_BYTES: Final = 4096
"""What a pipe takes whole or not at all (`PIPE_BUF`), and at once when it says that it takes anything."""
_LOOK_AGAIN_MS: Final = 500
_LOCK_AGAIN_S: Final = 0.001


class Descriptor:
    """Writes lines whole, so that those of several processes on one pipe never mix.

    Args:
        number: What to write to.
        stalled: Called twice a second while nobody reads.
    """

    def __init__(self, number: int, stalled: Callable[[], None]) -> None:
        self._number = number
        self._stalled = stalled
        self._is_pipe = _is_pipe(number)
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
            fcntl.lockf(self._number, fcntl.LOCK_UN)

    def _locked(self) -> bool:
        began = time.monotonic()
        told = began
        try:
            while True:
                try:
                    fcntl.lockf(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.blocked_since = began
                    if time.monotonic() - told > _LOOK_AGAIN_MS / 1000:
                        told = time.monotonic()
                        self._stalled()
                    time.sleep(_LOCK_AGAIN_S)
                else:
                    return True
        except OSError:
            self._is_pipe = False
            return False
        finally:
            self.blocked_since = None


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False
