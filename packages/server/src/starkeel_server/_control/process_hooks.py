"""Hooks of a process's parts, such as plugins; each hook is optional and found by its method name."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal

import structlog
from starkeel_config import ServiceSettings

from .server import ControlHandler

log = structlog.get_logger(__name__)

Role = Literal["main", "worker"]

MIN_EXIT_S = 0.1
"""Minimum seconds for each step of a flush, also when earlier steps have used the whole time."""
_CALLBACKS_SHARE, _MAX_CALLBACKS_S = 1 / 3, 1.0
"""Share of the time for a flush that is kept for the callbacks of `atexit`, and its maximum seconds."""


class ProcessHooks:
    """Calls the hooks of a process's parts, which are in start order and stopped in reverse order."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self.parts = list(parts)

    @classmethod
    def of_main(cls, settings: ServiceSettings) -> "ProcessHooks":
        """Return the hooks that settings sections provide for the main process (`main_process`)."""
        sections = (getattr(settings, name) for name in settings.__struct_fields__)
        return cls(section.main_process() for section in sections if hasattr(section, "main_process"))

    def start_process(self, *, role: Role, index: int, workers: int) -> None:
        """Set up the process: logging, telemetry, its share of limits divided between workers."""
        for part in self.having("start_process"):
            part.start_process(role=role, index=index, workers=workers)
        # Without a logging part, keep structlog's defaults, but survive a closed stdout.
        if not structlog.is_configured():
            structlog.configure(logger_factory=_StdoutLogger)

    def stop_process(self, *, timeout_s: float) -> float:
        """Flush all parts, in reverse order, so that logging is stopped last.

        Returns:
            The rest of the `timeout_s` seconds, for the callbacks of `atexit`: at least a third or 1 s.
        """
        end = time.monotonic() + timeout_s
        until = end - min(_MAX_CALLBACKS_S, timeout_s * _CALLBACKS_SHARE)
        for part in reversed(list(self.having("stop_process"))):
            try:
                part.stop_process(timeout_s=max(MIN_EXIT_S, until - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - the other parts must still be flushed
                log.warning("flush failed", part=type(part).__name__, error=repr(error))
        return max(MIN_EXIT_S, end - time.monotonic())

    def collectors(self) -> Iterator[Any]:
        for part in self.having("collectors"):
            yield from part.collectors()

    def inquiries(self) -> dict[str, ControlHandler]:
        return {
            name: handler for part in self.having("inquiries") for name, handler in part.inquiries().items()
        }

    def set_log_levels(self, levels: str) -> None:
        """Set the log levels of this process.

        Raises:
            ValueError: The levels are invalid.
        """
        for part in self.having("set_log_levels"):
            part.set_log_levels(levels)

    def having(self, name: str) -> Iterator[Any]:
        """Return the parts that have a method `name`."""
        return (part for part in self.parts if callable(getattr(part, name, None)))


class _StdoutLogger:
    """Writes each line to stdout in one call and ignores a closed stdout."""

    def __init__(self, *_: Any) -> None: ...

    def msg(self, message: str) -> None:
        # A closed pipe, or a stream closed before the start, must not stop the service.
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.write(f"{message}\n")
            sys.stdout.flush()

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg
