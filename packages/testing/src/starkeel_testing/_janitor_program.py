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
    for kind, value in left:
        if kind == "group":
            _end_group(*map(int, value.split()))
    for kind, value in left:
        if kind == "directory":
            shutil.rmtree(value, ignore_errors=True)


def _end_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            os.killpg(group, 0)  # raises when nobody is left
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
