"""The start is prepared by a worker, which has the application, and told by main, which has none."""

import os
import traceback
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from .._config.exit_codes import CRASH_LOOP, StartError

log = structlog.get_logger(__name__)


class _Said(msgspec.Struct, frozen=True, tag=True):
    """A line for main's log."""

    message: str
    fields: dict[str, Any]


class _Failed(msgspec.Struct, frozen=True, tag=True):
    """The service cannot start."""

    reason: str
    exit_code: int
    trace: str


class _Done(msgspec.Struct, frozen=True, tag=True):
    """The port may be opened."""


_DECODER = msgspec.json.Decoder(_Said | _Failed | _Done)


class StartupFailure(StartError):
    """The worker that prepared the start could not.

    Attributes:
        trace: Where an error was raised that was not foreseen.
    """

    def __init__(self, message: str, exit_code: int = CRASH_LOOP, trace: str = "") -> None:
        super().__init__(message, exit_code)
        self.trace = trace


class StartupListener:
    """Main's end of a pipe by which the first worker tells how far it is."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def run(self) -> None:
        """Wait until the start is prepared, and log what is told meanwhile; the worker has been started.

        Raises:
            Failure: It cannot be.
        """
        os.close(self.writer)
        with open(self._reader, "rb") as lines:
            for line in lines:
                told = _DECODER.decode(line)
                if isinstance(told, _Said):
                    log.info(told.message, **told.fields)
                elif isinstance(told, _Failed):
                    raise StartupFailure(told.reason, told.exit_code, told.trace)
                else:
                    return
        raise StartupFailure("the first worker ended before it had prepared the start")


class StartupReporter:
    """The worker's end.

    Args:
        descriptor: Of the pipe, inherited.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, message: str, **fields: Any) -> None:
        """Have main log a line."""
        self._tell(_Said(message, fields))

    def fail(self, error: Exception) -> None:
        """Tell why the service cannot start; where it was raised, too, unless it was foreseen."""
        if isinstance(error, StartError):
            self._tell(_Failed(str(error), error.exit_code, ""))
        else:
            trace = "".join(traceback.format_exception(error))
            self._tell(_Failed(f"{type(error).__name__}: {error}", CRASH_LOOP, trace))

    def done(self) -> None:
        """Tell that the port may be opened."""
        self._tell(_Done())
        os.close(self._descriptor)

    def _tell(self, told: _Said | _Failed | _Done) -> None:
        left = memoryview(msgspec.json.encode(told) + b"\n")
        # Main may be gone.
        with suppress(BrokenPipeError):
            while left:
                left = left[os.write(self._descriptor, left) :]
