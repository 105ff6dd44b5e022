"""Reaper: ends the processes and removes the directories that a test process left behind.

Run by path, with the standard library alone. Each line of stdin is `group PID SIGNAL`, `directory PATH`, or
`forget` with the PID or path. Stdin ends when the process that writes it dies, for any reason; then all
registered groups are ended and all registered directories removed.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

_GRACE_S = 5.0


def main() -> None:
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
        _signal(leader, signal.SIGKILL)


def _signal(leader: str, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
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
