"""Standard library integration: loggers, warnings and uncaught exceptions are sent to the log sink."""

import logging
import sys
import threading
import time
import traceback
import warnings
from types import TracebackType
from typing import Any, Final

from .._config.log_levels import LogLevels
from .record import LogRecord
from .sink import LogSink

# uvicorn adds `color_message`: the message once more, with the escape codes of a terminal.
_STANDARD_ATTRIBUTES: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
)
_TARGET: Final = "starkeel_observability"
_OTEL_REPEAT_S: Final = 60.0
_CRASH_S: Final = 1.0
_SERVERS_ACCESS: Final = ("uvicorn.access", "hypercorn.access", "granian.access", "gunicorn.access")
"""Access loggers of servers, whose lines would repeat those of the telemetry layer."""
_CREATED_LATE: Final = ("hypercorn.error",)
"""Loggers that a server gives their handlers after the application has started."""
_TERMINAL_FDS: Final = frozenset({1, 2})
_loggers_with_level: set[str] = set()


class SinkHandler(logging.Handler):
    """Sends the records of the standard library, uncaught exceptions and warnings to the sink."""

    def __init__(self, sink: LogSink, levels: LogLevels) -> None:
        super().__init__()
        self._sink = sink
        self.levels = levels
        self.addFilter(_OtelRepeatFilter())

    def emit(self, record: logging.LogRecord) -> None:
        # Libraries set levels on their own loggers.
        if record.levelno < self.levels.of(record.name):
            return
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        error = record.exc_info
        self._sink.send(
            LogRecord(
                level=record.levelno,
                target=record.name,
                message=_message(record),
                fields={**fields, "stack": record.stack_info} if record.stack_info else fields,
                file=record.pathname,
                line=record.lineno,
                error=error if isinstance(error, tuple) and error[0] is not None else None,
                at=record.created,
                pattern=record.msg,
            )
        )

    def install_hooks(self) -> None:
        """Set the interpreter's hooks for uncaught exceptions and warnings; those of others are kept."""
        if _is_replaceable(sys.excepthook, sys.__excepthook__):
            sys.excepthook = self._in_main
        if _is_replaceable(threading.excepthook, threading.__excepthook__):
            threading.excepthook = self._in_thread
        if _is_replaceable(sys.unraisablehook, sys.__unraisablehook__):
            sys.unraisablehook = self._unraisable
        warnings.showwarning = self._warning  # type: ignore[assignment]  # accepts the other arguments, too

    def _in_main(self, kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, frames)
            return
        self._send("uncaught exception", error, {}, frames)
        self._sink.flush(timeout_s=_CRASH_S)

    def _in_thread(self, args: Any) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread else ""
            self._send("uncaught exception in a thread", args.exc_value, {"thread": name}, args.exc_traceback)

    def _unraisable(self, args: Any) -> None:
        if args.exc_value is not None:
            message = args.err_msg or "exception ignored"
            self._send(message, args.exc_value, {"where": repr(args.object)}, args.exc_traceback)

    def _send(
        self, message: str, error: BaseException, fields: dict[str, Any], frames: TracebackType | None
    ) -> None:
        if self.levels.of(_TARGET) > logging.ERROR:
            return
        file, line = "", 0
        for frame, line in traceback.walk_tb(frames):  # noqa: B007 - the last one raised the exception
            file = frame.f_code.co_filename
        self._sink.send(
            LogRecord(
                level=logging.ERROR,
                target=_TARGET,
                message=message,
                fields=fields,
                file=file,
                line=line,
                error=(type(error), error, frames),
            )
        )

    def _warning(
        self, message: object, category: type[Warning], filename: str, lineno: int, *_: object
    ) -> None:
        target, fields = "py.warnings", {"category": category.__name__}
        if logging.getLogger(target).isEnabledFor(logging.WARNING):
            record = LogRecord(
                level=30, target=target, message=message, fields=fields, file=filename, line=lineno
            )
            self._sink.send(record)


class _OtelRepeatFilter(logging.Filter):
    """Passes each message of OpenTelemetry once per minute, as failing exports repeat the same one."""

    def __init__(self) -> None:
        super().__init__()
        self._until: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry"):
            return True
        key, now = (record.name, str(record.msg)[:200]), time.monotonic()
        if self._until.get(key, 0.0) > now:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return False
        if len(self._until) > 256:
            self._until.clear()
        self._until[key] = now + _OTEL_REPEAT_S
        left_out = self._left_out.pop(key, 0)
        if left_out:
            record.left_out = left_out
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the message must not lose the line
        return f"{record.msg} {record.args!r}"


def configure(sink: LogSink, levels: LogLevels) -> None:
    """Send the records of all loggers, warnings and uncaught exceptions to the sink."""
    _adopt_loggers()
    handler = SinkHandler(sink, levels)
    kept = [each for each in logging.root.handlers if not _writes_to_terminal(each)]
    logging.root.handlers[:] = [handler, *kept]
    set_levels(levels)
    logging.lastResort = None
    handler.install_hooks()


def _adopt_loggers() -> None:
    """Have all loggers pass their records on, instead of writing them to a terminal."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            _remove_terminal_handlers(logger)
    for name in _SERVERS_ACCESS:
        # Uvicorn logs no access lines without a handler, and has no cost then.
        access = logging.getLogger(name)
        access.handlers[:] = []
        access.propagate, access.disabled = False, True
    for name in _CREATED_LATE:
        logging.getLogger(name).addFilter(_adopt)


def _adopt(record: logging.LogRecord) -> bool:
    """Adopt the logger of a record, before its handlers are called; a filter."""
    _remove_terminal_handlers(logging.getLogger(record.name))
    return True


def set_levels(levels: LogLevels) -> None:
    """Change the minimum levels."""
    for handler in logging.root.handlers:
        if isinstance(handler, SinkHandler):
            handler.levels = levels
    for name in _loggers_with_level - levels.directives.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.root.setLevel(max(levels.default, 1))
    for name, level in levels.directives.items():
        logging.getLogger(name).setLevel(max(level, 1))
    _loggers_with_level.clear()
    _loggers_with_level.update(levels.directives)


def _remove_terminal_handlers(logger: logging.Logger) -> None:
    """Remove handlers that write to a terminal; files and other handlers of the application are kept."""
    kept = [handler for handler in logger.handlers if not _writes_to_terminal(handler)]
    if len(kept) != len(logger.handlers):
        logger.handlers[:] = kept
        logger.propagate = True


def _writes_to_terminal(handler: logging.Handler) -> bool:
    """Return whether a handler writes to stdout or stderr; also that of an earlier set-up, which did."""
    if isinstance(handler, SinkHandler):
        return True
    # A `QueueHandler` exists only if its module is loaded, which takes milliseconds.
    module = sys.modules.get("logging.handlers")
    if module is not None and isinstance(handler, module.QueueHandler):
        return True
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    try:
        return handler.stream in {sys.stdout, sys.stderr} or handler.stream.fileno() in _TERMINAL_FDS
    except (AttributeError, OSError, TypeError, ValueError):
        # A stream without a descriptor, such as that of a test runner.
        return False


def _is_replaceable(hook: Any, default: Any) -> bool:
    """Return whether a hook of the interpreter is its own, or one that an earlier set-up installed."""
    return hook is default or isinstance(getattr(hook, "__self__", None), SinkHandler)
