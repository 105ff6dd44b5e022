"""Why a process ends, as the codes a supervisor sees; numbers as in sysexits.h where it has them."""

from typing import NoReturn

STOPPED = 0
CRASH_LOOP = 1
MIGRATION_FAILED = 65
DATABASE_AWAY = 69
WORKER_KILLED = 70
PORT_TAKEN = 71
CONFIGURATION = 78
SECOND_SIGNAL = 130


class StartError(Exception):
    """The service cannot start, for a reason that one line tells.

    Attributes:
        exit_code: What the process exits with.
    """

    def __init__(self, message: str, exit_code: int = CRASH_LOOP) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def leave(code: int) -> NoReturn:
    """End the process now, whatever threads it has left.

    Everything was stopped and flushed before, each within its time. An interpreter that shuts down in order
    would join threads once more, and one stuck in an application's blocking call would hold it for ever; with
    stdout closed it would also turn any code into 120.
    """
    import os
    import sys
    from contextlib import suppress

    for stream in (sys.stdout, sys.stderr):
        # A reader that has gone away, or a stream that was closed before the start.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
