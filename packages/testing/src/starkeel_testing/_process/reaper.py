"""The reaper, a process that cleans up after a test process that was killed, and its client.

It is run by path, with the standard library alone. Each line of its stdin is `group PID SIGNAL`,
`directory PATH`, or `forget` with the PID or path. Stdin ends when the process that writes it dies, for any
reason; then all registered groups are ended and all registered directories removed.
"""

import atexit
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from threading import Lock

_GRACE_S = 5.0


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
                    [sys.executable, "-I", "-S", __file__],
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


def main() -> None:
    """Read entries until stdin ends, then end the groups and remove the directories."""
    groups: dict[str, int] = {}
    directories: set[str] = set()
    for line in sys.stdin:
        kind, _, entry = line.rstrip("\n").partition(" ")
        if kind == "group":
            leader, _, stop = entry.partition(" ")
            groups[leader] = int(stop)
        elif kind == "directory":
            directories.add(entry)
        else:
            groups.pop(entry, None)
            directories.discard(entry)
    _end(groups)
    for path in directories:
        shutil.rmtree(path, ignore_errors=True)


def _end(groups: dict[str, int]) -> None:
    for leader, stop in groups.items():
        _signal(leader, stop)
    deadline = time.monotonic() + _GRACE_S
    while any(map(_is_running, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for leader in groups:
        _signal(leader, SIGKILL)


def _signal(leader: str, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(int(leader), number)


def _is_running(leader: str) -> bool:
    """Return whether the group's leader runs; a zombie does not."""
    try:
        with open(f"/proc/{leader}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    main()
