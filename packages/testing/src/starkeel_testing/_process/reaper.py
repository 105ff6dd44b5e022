"""Client of the reaper, the process that cleans up after a test process that was killed."""

import atexit
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from threading import Lock

_PROGRAM = Path(__file__).with_name("reaper_main.py")


class Reaper:
    """Ends process groups and removes directories once this process is dead.

    A killed process runs no finalizers, so another process has to do this. It starts with the first entry.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def watch_group(self, leader: int, *, stop: Signals = SIGKILL) -> None:
        """Register a process group, to be sent `stop` first and SIGKILL later."""
        self._send(f"group {leader} {stop.value}")

    def watch_directory(self, path: Path) -> None:
        """Register a directory."""
        self._send(f"directory {path}")

    def forget(self, entry: int | Path) -> None:
        """Remove a process group, by its leader, or a directory."""
        self._send(f"forget {entry}")

    def close(self) -> None:
        """Clean up the registered entries and wait for the reaper to end."""
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

    def _send(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                # In its own session, so that Ctrl-C on the tests does not end it.
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", _PROGRAM],
                    stdin=subprocess.PIPE,
                    text=True,
                    cwd="/",
                    start_new_session=True,
                )
                atexit.register(self.close)
            if self._process.stdin is not None:
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()


REAPER = Reaper()
