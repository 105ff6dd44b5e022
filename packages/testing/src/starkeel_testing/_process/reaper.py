"""Tells the janitor, a process of its own, what it must end when this one dies without doing so itself."""

import atexit
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from threading import Lock

_PROGRAM = Path(__file__).with_name("reaper_main.py")


class Janitor:
    """Watches process groups and directories; started with the first of them.

    A finalizer never runs in a process that is killed, so another process has to do its work.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def watch_group(self, leader: int, *, stop: Signals = SIGKILL) -> None:
        """End this process group after us, by this signal first."""
        self._tell(f"add group {leader} {stop.value}")

    def forget_group(self, leader: int, *, stop: Signals = SIGKILL) -> None:
        """The group has ended."""
        self._tell(f"remove group {leader} {stop.value}")

    def watch_directory(self, path: Path) -> None:
        """Remove this directory after us."""
        self._tell(f"add directory {path}")

    def forget_directory(self, path: Path) -> None:
        """The directory has been removed."""
        self._tell(f"remove directory {path}")

    def close(self) -> None:
        """Have what is left ended, and wait for that."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = _started()
                atexit.register(self.close)
            if self._process.stdin is not None:
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()


def _started() -> subprocess.Popen[str]:
    # A session of its own: Ctrl-C is for the tests, and the janitor comes after them.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _PROGRAM],
        stdin=subprocess.PIPE,
        text=True,
        cwd="/",
        start_new_session=True,
    )


JANITOR = Janitor()
"""This process' own."""
