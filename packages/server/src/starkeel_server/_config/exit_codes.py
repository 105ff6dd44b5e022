"""Exit codes, from sysexits.h where it defines one."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

STOPPED = 0
CRASH_LOOP = 1
MIGRATION_FAILED = 65
DATABASE_UNAVAILABLE = 69
WORKER_KILLED = 70
PORT_UNAVAILABLE = 71
INVALID_CONFIGURATION = 78
SECOND_SIGNAL = 130


class StartError(Exception):
    """The service cannot start; the message is one line without a traceback.

    Attributes:
        exit_code: Exit code of the process.
        trace: Traceback of an unexpected error in a worker, otherwise empty.
    """

    def __init__(self, message: str, exit_code: int = CRASH_LOOP, trace: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.trace = trace


def leave(code: int) -> NoReturn:
    """Exit immediately, without waiting for threads.

    A regular interpreter shutdown joins threads, and one stuck in a blocking call of the application would
    keep the process alive; with a closed stdout it would also change the exit code to 120.
    """
    for stream in (sys.stdout, sys.stderr):
        # The reader is gone, or the stream was closed before the start.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
