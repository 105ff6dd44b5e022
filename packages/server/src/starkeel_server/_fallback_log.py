"""Lines on stdout for a service that has no plugin for logging."""

import sys
from contextlib import suppress
from typing import Any


class QuietLogger:
    """Writes a line at once and whole, and does not mind when nobody reads it."""

    def __init__(self, *_: Any) -> None:
        """As structlog calls a factory of loggers."""

    def msg(self, message: str) -> None:
        """Write one line."""
        # A closed pipe, or a stream that was closed before the start: no reason to stop serving.
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.write(f"{message}\n")
            sys.stdout.flush()

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg
