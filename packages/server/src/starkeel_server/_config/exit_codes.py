"""Exit codes, from sysexits.h where it defines one."""

import atexit
import os
import sys
import time
from contextlib import suppress
from threading import Thread
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


def leave(code: int, *, callbacks_s: float = 0.0) -> NoReturn:
    """Exit without waiting for threads.

    A regular interpreter shutdown joins threads, and one stuck in a blocking call of the application would
    keep the process alive; with a closed stdout it would also change the exit code to 120.

    Args:
        code: Exit code of the process.
        callbacks_s: Seconds for callbacks registered with `atexit`, such as the flush of an error tracker.
            The process exits after them, even if one hangs. 0 skips them.
    """
    if callbacks_s > 0:
        # Without another thread for the deadline there are no callbacks.
        with suppress(RuntimeError):
            Thread(target=_exit_after, args=(callbacks_s, code), name="exit-deadline", daemon=True).start()
            # In this thread: some callbacks require the main thread. It reports their exceptions to stderr.
            atexit._run_exitfuncs()  # noqa: SLF001 - checked by a test; the interpreter calls the same function
    for stream in (sys.stdout, sys.stderr):
        # The reader is gone, or the stream was closed before the start.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _exit_after(timeout_s: float, code: int) -> NoReturn:
    time.sleep(timeout_s)
    with suppress(OSError):
        os.write(2, f"callbacks of `atexit` were cut off after {timeout_s:.1f} s\n".encode())
    os._exit(code)
