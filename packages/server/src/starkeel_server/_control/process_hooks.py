"""What is asked to set processes up and to tell of themselves; every member is found by name and optional."""

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


class ProcessHooks:
    """The parts of a process.

    Args:
        parts: In the order in which they are started; they are stopped the other way round.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = list(parts)

    @classmethod
    def of_main(cls, settings: ServiceSettings) -> "ProcessHooks":
        """What the sections of settings bring for the main process, which makes no application."""
        sections = (getattr(settings, name) for name in settings.__struct_fields__)
        return cls(section.main_process() for section in sections if hasattr(section, "main_process"))

    def start_process(self, *, role: Role, index: int, workers: int) -> None:
        """Set the process up: logging, telemetry, this worker's share of what is shared out."""
        for part in self.having("start_process"):
            part.start_process(role=role, index=index, workers=workers)
        _quiet_fallback()

    def stop_process(self, *, timeout_s: float) -> None:
        """Flush, the last thing a process does; those listed first, as logging is, go last.

        Args:
            timeout_s: Seconds for all of them together.
        """
        until = time.monotonic() + timeout_s
        for part in reversed(list(self.having("stop_process"))):
            try:
                part.stop_process(timeout_s=max(0.1, until - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - the process ends; the others must be flushed all the same
                log.warning("flushing failed", part=type(part).__name__, error=repr(error))

    def collectors(self) -> Iterator[Any]:
        """What main itself reports on its metrics page."""
        for part in self.having("collectors"):
            yield from part.collectors()

    def inquiries(self) -> dict[str, ControlHandler]:
        """What can be asked of this process, by the name of the question."""
        return {name: of for part in self.having("inquiries") for name, of in part.inquiries().items()}

    def set_log_levels(self, levels: str) -> None:
        """Let these levels hold in this process.

        Raises:
            ValueError: They are wrong.
        """
        for part in self.having("set_log_levels"):
            part.set_log_levels(levels)

    def having(self, name: str) -> Iterator[Any]:
        """Those that have a member of a name."""
        return (part for part in self._parts if callable(getattr(part, name, None)))


def _quiet_fallback() -> None:
    """Without a part for logging, keep structlog's defaults, but survive a reader that has gone."""
    if structlog.is_configured():
        return
    structlog.configure(logger_factory=QuietLogger)


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
