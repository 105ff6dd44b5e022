"""A log line before it is one: what happened, where, and in which request."""

import sys
import threading
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import structlog
from opentelemetry import trace

from ._clean import Cleaner, encodable, name_of, text_of
from ._levels import level_name
from ._redact import masked

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

RESERVED: Final = frozenset(
    [
        "timestamp",
        "level",
        "target",
        "message",
        "file",
        "line",
        "threadId",
        "trace_id",
        "span_id",
        "request_id",
        "service",
        "version",
        "exception",
    ]
)
"""What a line says by itself; a field of that name is kept under another."""
_STACK_HEAD: Final = 4096
_STACK_TAIL: Final = 12_288
_MOST_FRAMES: Final = 20


class Event:
    """Something that was logged.

    Args:
        level: As the standard library's numbers.
        target: Name of the logger.
        message: What happened.
        fields: What it happened to.
        file: Path of the source file, as the interpreter knows it.
        line: Line in it.
        error: The exception it is about.
        at: Seconds since 1970; now unless given.
        pattern: The message before what differs was put in; the message itself unless given.
    """

    __slots__ = ("at", "error", "fields", "file", "level", "line", "message", "pattern", "target", "thread")

    def __init__(
        self,
        *,
        level: int,
        target: str,
        message: object,
        fields: Mapping[Any, Any],
        file: str,
        line: int,
        error: ExcInfo | None = None,
        at: float | None = None,
        pattern: object = None,
    ) -> None:
        self.at = time.time() if at is None else at
        self.level = level
        self.target = target
        self.message = message
        self.pattern = message if pattern is None else pattern
        self.fields = fields
        self.file = file
        self.line = line
        self.error = error
        self.thread = threading.get_native_id()


def composed(event: Event, *, service: str, version: str) -> dict[str, Any]:
    """A line's names and values, in their order, fit to be written."""
    cleaner = Cleaner()
    context = structlog.contextvars.get_contextvars()
    request_id = context.pop("request_id", None)
    line: dict[str, Any] = {
        "timestamp": timestamp(event.at),
        "level": level_name(event.level),
        "target": event.target,
        "message": cleaner.text(text_of(event.message)),
    }
    own = {"service": service, "version": version}
    for name, value in {**context, **event.fields}.items():
        # What the line says anyhow need not be said twice.
        if name not in own or value != own[name]:
            _put(line, text_of(name), value, cleaner)
    if event.error is not None:
        line["exception"] = {**told_exception(event.error), "frames": _frames(event.error[2])}
    line["file"], line["line"], line["threadId"] = shortened(event.file), event.line, event.thread
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line["trace_id"], line["span_id"] = f"{span.trace_id:032x}", f"{span.span_id:016x}"
    if request_id is not None:
        line["request_id"] = cleaner.text(text_of(request_id))
    line["service"], line["version"] = service, version
    return line


def timestamp(at: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, to the microsecond."""
    second, us = divmod(round(at * 1e6), 1_000_000)
    return f"{second_of(second)}.{us:06d}Z"


@lru_cache(maxsize=8)
def second_of(second: int) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, the zone apart."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _put(line: dict[str, Any], name: str, value: Any, cleaner: Cleaner) -> None:
    # The name that was meant decides about redaction, not the one that is kept.
    cleaned = cleaner.field(name, value)
    name = name_of(name)
    while name in RESERVED or name in line:
        name = f"field_{name}"
    line[name] = cleaned


def told_exception(error: ExcInfo) -> dict[str, str]:
    """An exception's type, message and stack trace, without personal data."""
    kind, value, frames = error
    try:
        stack = "".join(traceback.format_exception(kind, value, frames))
    except Exception:  # noqa: BLE001 - an exception that cannot be shown must not cost the line
        stack = "".join(traceback.format_tb(frames))
    return {
        "type": kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}",
        "message": Cleaner().text(text_of(value)),
        "stack": _shortened_stack(masked(encodable(stack.rstrip("\n")))),
    }


def _frames(frames: TracebackType | None) -> list[dict[str, str | int]]:
    """Where an exception came from, the innermost last; places only, as values may be anybody's."""
    found: list[dict[str, str | int]] = []
    while frames is not None:
        code = frames.tb_frame.f_code
        found.append(
            {"file": shortened(code.co_filename), "line": frames.tb_lineno, "function": code.co_name}
        )
        frames = frames.tb_next
    return found[-_MOST_FRAMES:]


def _shortened_stack(stack: str) -> str:
    left_out = len(stack) - _STACK_HEAD - _STACK_TAIL
    if left_out <= 0:
        return stack
    return f"{stack[:_STACK_HEAD]}\n... ({left_out} more characters)\n{stack[-_STACK_TAIL:]}"


@lru_cache(maxsize=2048)
def shortened(file: str) -> str:
    """A source file as it is imported: `orders/app.py`."""
    roots = sorted((path for path in sys.path if path), key=len, reverse=True)
    for root in roots:
        if file.startswith(f"{root}/"):
            return file[len(root) + 1 :]
    return file
