"""Output of a service, read through a pipe as its supervisor would."""

import contextlib
import fcntl
import os
import select
import threading
from typing import IO

_SMALLEST_PIPE = 4096
_F_SETPIPE_SZ = 1031
_POLL_S = 0.05


class Output:
    """Output of a process to one stream, read by a thread that can be paused.

    Args:
        stream: The end of the pipe that is read; closed at the end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._data = bytearray()
        self._is_reading = threading.Event()
        self._is_reading.set()
        self._is_ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        descriptor = self._stream.fileno()
        while not self._is_ended:
            if not self._is_reading.wait(_POLL_S):
                continue
            if not select.select([descriptor], [], [], _POLL_S)[0] or not self._is_reading.is_set():
                continue
            part = os.read(descriptor, 65536)
            if not part:
                return
            self._data += part

    @property
    def data(self) -> bytes:
        """All bytes so far."""
        return bytes(self._data)

    @property
    def size(self) -> int:
        """Number of bytes so far."""
        return len(self._data)

    def lines(self, start: int = 0) -> list[bytes]:
        """Return the complete lines from a position on."""
        return self.data[start:].split(b"\n")[:-1]

    def pause(self) -> None:
        """Stop reading; the pipe is made as small as possible, so that it fills soon."""
        self._is_reading.clear()
        # A pipe that holds more than the new size keeps its size.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._stream, _F_SETPIPE_SZ, _SMALLEST_PIPE)

    def resume(self) -> None:
        """Continue to read."""
        self._is_reading.set()

    def finish(self, timeout_s: float) -> None:
        """Read to the end of the stream, or as long as some process holds it, and close it.

        Args:
            timeout_s: Seconds to wait for the end.
        """
        self.resume()
        self._thread.join(timeout_s)
        self._is_ended = True
        self._thread.join()
        self._stream.close()
