"""Log records and their lines, as fields and as JSON."""

import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import msgspec
import structlog
from opentelemetry import trace

from .._config.log_levels import SEVERITIES, severity_of
from .sanitize import Sanitizer, encodable, mask, sanitize_name, to_text
from .validation_errors import without_values

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

RESERVED: Final = frozenset(
    (
        *("timestamp", "level", "target", "message", "file", "line", "threadId"),
        *("trace_id", "span_id", "request_id", "service", "version", "exception"),
    )
)
"""Names that every line uses itself; another field of that name is renamed."""
_STACK_HEAD: Final = 4096
_STACK_TAIL: Final = 12_288
_MAX_FRAMES: Final = 20
# JSON escapes C0 controls only. Terminals and log viewers also act on DEL, C1 controls, line separators and
# bidirectional overrides.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_encoder: Final = msgspec.json.Encoder()


class LogRecord(msgspec.Struct, kw_only=True, eq=False):
    """A log call."""

    level: int
    """Level number of the standard library."""
    target: str
    """Logger name."""
    message: object
    fields: Mapping[Any, Any]
    file: str
    line: int
    error: ExcInfo | None = None
    at: float = msgspec.field(default_factory=time.time)
    """Seconds since 1970."""
    pattern: object = None
    """Message before interpolation; `None` if they are equal."""
    thread: int = msgspec.field(default_factory=threading.get_native_id)


def line_fields(record: LogRecord, *, service: str, version: str) -> dict[str, Any]:
    """Return the fields of a line in their order, sanitized."""
    sanitizer = Sanitizer()
    context = structlog.contextvars.get_contextvars()
    request_id = context.pop("request_id", None)
    line: dict[str, Any] = {
        "timestamp": format_time(record.at),
        "level": SEVERITIES[severity_of(record.level)],
        "target": record.target,
        "message": sanitizer.text(to_text(record.message)),
    }
    own = {"service": service, "version": version}
    for name, value in {**context, **record.fields}.items():
        # A field that repeats one of these is redundant.
        if name not in own or value != own[name]:
            _add(line, to_text(name), value, sanitizer)
    if record.error is not None:
        line["exception"] = {**describe_exception(record.error), "frames": _frames(record.error[2])}
    line["file"], line["line"], line["threadId"] = shorten_path(record.file), record.line, record.thread
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line["trace_id"], line["span_id"] = f"{span.trace_id:032x}", f"{span.span_id:016x}"
    if request_id is not None:
        line["request_id"] = sanitizer.text(to_text(request_id))
    line["service"], line["version"] = service, version
    return line


def format_time(at: float) -> str:
    """Format seconds since 1970 as RFC 3339 in UTC with microseconds."""
    second, us = divmod(round(at * 1e6), 1_000_000)
    return f"{format_second(second)}.{us:06d}Z"


@lru_cache(maxsize=8)
def format_second(second: int) -> str:
    """Format seconds since 1970 as RFC 3339 in UTC without the zone."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _add(line: dict[str, Any], name: str, value: Any, sanitizer: Sanitizer) -> None:
    # The original name decides whether the value is redacted.
    sanitized = sanitizer.field(name, value)
    name = sanitize_name(name)
    while name in RESERVED or name in line:
        name = f"field_{name}"
    line[name] = sanitized


def describe_exception(error: ExcInfo) -> dict[str, str]:
    """Return an exception's type, message and stack trace; personal data is redacted."""
    kind, value, frames = error
    try:
        stack = "".join(traceback.format_exception(kind, value, frames))
    except Exception:  # noqa: BLE001 - an exception that cannot be formatted must not lose the line
        stack = "".join(traceback.format_tb(frames))
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return {
        "type": module + kind.__qualname__,
        "message": Sanitizer().text(without_values(to_text(value), value)),
        "stack": _shorten_stack(mask(encodable(without_values(stack.rstrip("\n"), value)))),
    }


def _frames(frames: TracebackType | None) -> list[dict[str, str | int]]:
    """Return the innermost frames, the innermost last; without variables, which may be secret."""
    innermost = deque(traceback.walk_tb(frames), maxlen=_MAX_FRAMES)
    codes = [(frame.f_code, line) for frame, line in innermost]
    return [
        {"file": shorten_path(code.co_filename), "line": line, "function": code.co_name}
        for code, line in codes
    ]


def _shorten_stack(stack: str) -> str:
    omitted = len(stack) - _STACK_HEAD - _STACK_TAIL
    if omitted <= 0:
        return stack
    return f"{stack[:_STACK_HEAD]}\n... ({omitted} more characters)\n{stack[-_STACK_TAIL:]}"


@lru_cache(maxsize=2048)
def shorten_path(file: str) -> str:
    """Return a source file's path relative to its entry in `sys.path`, such as `orders/app.py`."""
    roots = sorted((path for path in sys.path if path), key=len, reverse=True)
    for root in roots:
        if file.startswith(f"{root}/"):
            return file[len(root) + 1 :]
    return file


def json_line(line: dict[str, Any] | str) -> bytes:
    """Return the fields of a line, or a text, as one line of JSON."""
    encoded = _encoder.encode(line)
    if not encoded.isascii() or b"\x7f" in encoded:
        # What is left occurs only inside strings, where the escaped form is equivalent.
        encoded = visible(encoded.decode()).encode()
    return encoded + b"\n"


def visible(text: str) -> str:
    """Return a text with control characters escaped."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
