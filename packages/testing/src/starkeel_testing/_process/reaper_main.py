"""Ends what a test process left behind.

A program of its own, run by path with the standard library alone. Its input tells what to watch, a line each:
`add group PID SIGNAL`, `add directory PATH`, and the same with `remove`. The input ends with the process that
writes it, however that died; then every group still known is ended and every directory removed.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

_PATIENCE_S = 5.0


def main() -> None:
    known: dict[str, None] = {}
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        if verb == "add":
            known[what] = None
        else:
            known.pop(what, None)
    left = [what.split(" ", 1) for what in known]
    _end(
        [
            (int(group), int(number))
            for kind, what in left
            if kind == "group"
            for group, number in [what.split()]
        ]
    )
    for kind, what in left:
        if kind == "directory":
            shutil.rmtree(what, ignore_errors=True)


def _end(groups: list[tuple[int, int]]) -> None:
    for group, number in groups:
        _signal(group, number)
    until = time.monotonic() + _PATIENCE_S
    while any(_lives(group) for group, _ in groups) and time.monotonic() < until:
        time.sleep(0.05)
    for group, _ in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _lives(group: int) -> bool:
    """Tell whether the leader runs: dead and not yet buried by the system is dead enough."""
    try:
        with open(f"/proc/{group}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    main()
