"""structlog integration: loggers whose level can change at run time, and delivery to the log sink."""

import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import FrameType
from typing import Any, Final

import structlog
from msgspec import Struct

from .._config.log_levels import OFF, TRACE, LogLevels
from .record import ExcInfo, LogRecord
from .sink import LogSink

_METHODS: Final[Mapping[str, int]] = {
    "trace": TRACE,
    "debug": 10,
    "info": 20,
    "msg": 20,
    "warning": 30,
    "warn": 30,
    **dict.fromkeys(("error", "err", "exception", "failure"), 40),
    **dict.fromkeys(("critical", "fatal"), 50),
}


class LoggerHandle(Struct):
    """Name and minimum level of a logger, shared by all loggers of that name."""

    name: str
    level: int


class LoggerRegistry:
    """structlog's logger factory; keeps all loggers, so that their levels can change."""

    def __init__(self) -> None:
        self.handles: dict[str, LoggerHandle] = {}
        self.levels = LogLevels(0, {})
        self.sink: LogSink | None = None

    def __call__(self, *names: Any) -> LoggerHandle:
        """Return the handle for a logger name; default: the calling module."""
        is_named = names and isinstance(names[0], str)
        name = names[0] if is_named else _caller().f_globals.get("__name__", "root")
        found = self.handles.get(name)
        if found is None:
            found = self.handles.setdefault(name, LoggerHandle(name, self.levels.of(name)))
        return found

    def set_levels(self, levels: LogLevels) -> None:
        self.levels = levels
        for handle in list(self.handles.values()):
            handle.level = levels.of(handle.name)


LOGGERS: Final = LoggerRegistry()


class EventLogger(structlog.BoundLoggerBase):
    """Bound logger, with the methods of structlog's own."""

    _logger: LoggerHandle

    def log(self, level: int, event: object = None, /, *args: Any, **fields: Any) -> None:
        if self._logger.level <= level:
            self._log(_method_of(level), event, args, fields)

    async def alog(self, level: int, event: object = None, /, *args: Any, **fields: Any) -> None:
        self.log(level, event, *args, **fields)

    def is_enabled_for(self, level: int) -> bool:
        return self._logger.level <= level

    isEnabledFor = is_enabled_for  # noqa: N815 - the name in the standard library

    def get_effective_level(self) -> int:
        return self._logger.level

    def _log(self, method: str, event: object, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        try:
            if "event" in fields:
                fields["field_event"] = fields.pop("event")
            self._process_event(method, _interpolate(event, args), fields)
        except structlog.DropEvent:
            pass
        except Exception as error:  # noqa: BLE001 - a log call never raises
            _send(self._logger, 40, "log event could not be written", {"error": repr(error)})


def _add_methods(name: str, level: int) -> None:
    """Add the method of a level to `EventLogger`, and its asynchronous form."""

    def log(self: EventLogger, event: object = None, /, *args: Any, **fields: Any) -> None:
        if self._logger.level <= level:
            if name == "exception":
                fields.setdefault("exc_info", True)
            self._log(name, event, args, fields)

    async def alog(self: EventLogger, event: object = None, /, *args: Any, **fields: Any) -> None:
        log(self, event, *args, **fields)

    log.__name__ = name
    setattr(EventLogger, name, log)
    setattr(EventLogger, f"a{name}", alog)


for _name, _level in _METHODS.items():
    _add_methods(_name, _level)


def deliver(handle: LoggerHandle, method: str, event: MutableMapping[str, Any]) -> str:
    """Send an event to the sink: the last structlog processor."""
    message = event.pop("event", "")
    _send(handle, _METHODS.get(method, 20), message, event)
    return ""


PROCESSORS: Final[list[Any]] = [deliver]
"""The list that all loggers refer to; structlog's `capture_logs` changes it in place."""


def configure(sink: LogSink, levels: LogLevels) -> None:
    """Send structlog's events to the sink."""
    LOGGERS.sink = sink
    LOGGERS.set_levels(levels)
    structlog.configure(
        processors=PROCESSORS,
        wrapper_class=EventLogger,
        logger_factory=LOGGERS,
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def _send(handle: LoggerHandle, level: int, message: object, fields: MutableMapping[str, Any]) -> None:
    sink, frame = LOGGERS.sink, _caller()
    if sink is None or level >= OFF:
        return
    error = _exc_info(fields.pop("exc_info", None))
    if fields.pop("stack_info", None):
        fields["stack"] = "".join(traceback.format_stack(frame)).rstrip("\n")
    sink.send(
        LogRecord(
            level=level,
            target=handle.name,
            message=message,
            fields=fields,
            file=frame.f_code.co_filename,
            line=frame.f_lineno,
            error=error,
        )
    )


def _exc_info(given: object) -> ExcInfo | None:
    if isinstance(given, tuple):
        is_error = len(given) == 3 and isinstance(given[1], BaseException)
        return (type(given[1]), given[1], given[2]) if is_error else None
    error = given if isinstance(given, BaseException) or not given else sys.exception()
    return (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None


def _interpolate(event: object, args: tuple[Any, ...]) -> Any:
    """Return the message with positional arguments inserted, as in the standard library."""
    if not args:
        return event
    values = args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args
    try:
        return str(event) % values
    except (TypeError, ValueError, KeyError):
        return f"{event} {args!r}"


def _method_of(level: int) -> str:
    return next((name for name in ("error", "warning", "info", "debug") if _METHODS[name] <= level), "trace")


def _caller() -> FrameType:
    here = sys._getframe(1)  # noqa: SLF001 - there is no public function
    frame: FrameType | None = here
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != __name__ and not name.startswith("structlog."):
            return frame
        frame = frame.f_back
    return here
