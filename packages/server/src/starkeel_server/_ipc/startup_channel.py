"""Pipe on which the first worker reports to the main process how it connects to the database and migrates."""

import os
import traceback
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from .._config.exit_codes import CRASH_LOOP, StartError

log = structlog.get_logger(__name__)


class _LogLine(msgspec.Struct, frozen=True, tag=True):
    message: str
    fields: dict[str, Any]


class _Failed(msgspec.Struct, frozen=True, tag=True):
    reason: str
    exit_code: int = CRASH_LOOP
    trace: str = ""


class _Done(msgspec.Struct, frozen=True, tag=True):
    pass


_DECODER = msgspec.json.Decoder(_LogLine | _Failed | _Done)


class StartupListener:
    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def wait(self) -> None:
        """Log the messages of the first worker, which has been started, until it is done.

        Raises:
            StartError: The worker reported a failure or ended early.
        """
        os.close(self.writer)
        with open(self._reader, "rb") as lines:
            for line in lines:
                match _DECODER.decode(line):
                    case _LogLine(message=message, fields=fields):
                        log.info(message, **fields)
                    case _Failed(reason=reason, exit_code=exit_code, trace=trace):
                        raise StartError(reason, exit_code, trace)
                    case _Done():
                        return
        raise StartError("the first worker ended before it had prepared the startup")


class StartupReporter:
    """The worker's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def log(self, message: str, **fields: Any) -> None:
        self._send(_LogLine(message, fields))

    def fail(self, error: Exception) -> None:
        """Report why the service cannot start, with a traceback unless it is a `StartError`."""
        if isinstance(error, StartError):
            self._send(_Failed(str(error), error.exit_code))
        else:
            trace = "".join(traceback.format_exception(error))
            self._send(_Failed(f"{type(error).__name__}: {error}", trace=trace))

    def done(self) -> None:
        self._send(_Done())
        os.close(self._descriptor)

    def _send(self, message: _LogLine | _Failed | _Done) -> None:
        data = memoryview(msgspec.json.encode(message) + b"\n")
        # The main process may have ended.
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._descriptor, data) :]
