"""A line of a process's output as a log record: a JSON object with the usual names, or a text."""

import sys
import time
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec

from .._store.records import LogRecord
from .logs import encode_fields, level_of, severity_of
from .values import shorten

_TIMES: Final = ("timestamp", "time", "ts", "@timestamp")
_LEVELS: Final = ("level", "severity", "levelname", "log.level")
_MESSAGES: Final = ("message", "msg", "event")
_PINO: Final = {10: 1, 20: 5, 30: 9, 40: 13, 50: 17, 60: 21}


def read_line(line: str, service: str) -> LogRecord:
    """Return a line as a record.

    Args:
        line: The line without its end.
        service: Name of the service that wrote it, used if the line has none.
    """
    fields: Any = None
    if line.startswith("{"):
        with suppress(msgspec.DecodeError, RecursionError):
            fields = msgspec.json.decode(line)
    if not isinstance(fields, dict):
        return LogRecord(time.time_ns(), sys.intern(service), 0, "-", shorten(line), b"", b"", b"{}")
    severity = _severity(_take(fields, _LEVELS))
    message = _take(fields, _MESSAGES)
    return LogRecord(
        time_ns=_time_ns(_take(fields, _TIMES)),
        service=sys.intern(shorten(str(_take(fields, ("service",)) or service), 300)),
        severity=severity,
        level=level_of(severity),
        message=shorten(message if isinstance(message, str) else msgspec.json.encode(message).decode()),
        trace_id=_id(_take(fields, ("trace_id", "traceId")), 16),
        span_id=_id(_take(fields, ("span_id", "spanId")), 8),
        fields=encode_fields({shorten(name, 300): _value(value) for name, value in fields.items()}),
    )


def _take(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in fields:
            return fields.pop(name)
    return ""


def _value(value: Any) -> Any:
    return shorten(value) if isinstance(value, str) else value


def _severity(level: Any) -> int:
    if isinstance(level, int):
        return _PINO.get(level, 0)
    return severity_of(level) if isinstance(level, str) else 0


def _time_ns(value: Any) -> int:
    with suppress(ValueError, OverflowError):
        if isinstance(value, str):
            return int(datetime.fromisoformat(value).timestamp() * 1e6) * 1000
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # Seconds or milliseconds since 1970.
            return int(value * (1e9 if value < 1e11 else 1e6))
    return time.time_ns()


def _id(value: Any, size: int) -> bytes:
    with suppress(ValueError):
        if isinstance(value, str) and len(value) == 2 * size:
            return bytes.fromhex(value)
    return b""
