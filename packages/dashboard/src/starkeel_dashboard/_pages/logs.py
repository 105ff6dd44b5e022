"""Log records, filtered, and their fields."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from .._decode.logs import severity_of
from .._store.records import LogRecord
from .._store.store import Store

_LIMIT: Final = 300
_HIDDEN: Final = frozenset(
    ("target", "file", "line", "threadId", "version", "client", "request_id", "user_id", "bytes", "route")
)
_MAX_FIELDS: Final = 5
_MAX_VALUE: Final = 80
_STACKS: Final = ("exception.stacktrace", "traceback", "stack_trace", "stack")


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are shown."""

    service: str = ""
    level: str = ""
    """Lowest level."""
    text: str = ""
    """Part of the message or of a field."""
    field: str = ""
    """`name=value`, or the name of a field that the record has."""
    trace: str = ""
    """Trace id in hexadecimal, or its beginning."""
    after: int = 0
    """Number of a record; only later ones are shown."""


class LogView(msgspec.Struct):
    """A record with its fields."""

    record: LogRecord
    fields: dict[str, Any]
    stack: str

    @property
    def summary(self) -> list[tuple[str, str]]:
        """Return the fields that are shown beside the message."""
        shown = [(name, value) for name, value in self.fields.items() if name not in _HIDDEN]
        return [(name, value[:_MAX_VALUE]) for name, value in shown[:_MAX_FIELDS]]

    @property
    def trace_id(self) -> str:
        """Return the trace id in hexadecimal; empty if there is none."""
        return self.record.trace_id.hex()


def view(record: LogRecord) -> LogView:
    """Return a record with its fields, a stack trace apart from them."""
    fields: dict[str, Any] = msgspec.json.decode(record.fields)
    stack = ""
    exception = fields.get("exception")
    if isinstance(exception, dict) and isinstance(exception.get("stack"), str):
        stack = exception["stack"]
        fields.pop("exception")
    for name in _STACKS:
        if not stack and isinstance(fields.get(name), str):
            stack = fields.pop(name)
    flat = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in fields.items()
    }
    return LogView(record, flat, stack)


def select(store: Store, chosen: LogFilter) -> Iterator[LogRecord]:
    """Yield the records that pass a filter, the newest first."""
    lowest = severity_of(chosen.level) if chosen.level else 0
    text, (name, separator, value) = chosen.text.lower(), chosen.field.partition("=")
    for record in store.logs.newest_first(after=chosen.after):
        if chosen.service and record.service != chosen.service:
            continue
        if record.severity < lowest:
            continue
        if chosen.trace and not record.trace_id.hex().startswith(chosen.trace.lower()):
            continue
        if text and not (text in record.message.lower() or text in record.fields.decode().lower()):
            continue
        if name and not _has_field(record, name.strip(), value.strip() if separator else None):
            continue
        yield record


def _has_field(record: LogRecord, name: str, value: str | None) -> bool:
    fields = msgspec.json.decode(record.fields)
    if name not in fields:
        return False
    if value is None:
        return True
    found = fields[name]
    return value == (found if isinstance(found, str) else msgspec.json.encode(found).decode())


def logs_page(store: Store, chosen: LogFilter, limit: int = _LIMIT) -> dict[str, Any]:
    """Return the values of the page."""
    records = list(islice(select(store, chosen), limit))
    return {"chosen": chosen, "lines": [view(record) for record in records], "store": store, "limit": limit}


def log_rows(store: Store, chosen: LogFilter, limit: int) -> list[dict[str, Any]]:
    """Return records as JSON for a terminal, the oldest first."""
    found = [view(record) for record in islice(select(store, chosen), limit)]
    return [
        {
            "number": line.record.number,
            "time_ns": line.record.time_ns,
            "service": line.record.service,
            "level": line.record.level,
            "message": line.record.message,
            "trace_id": line.trace_id,
            "fields": line.fields,
            "stack": line.stack,
        }
        for line in reversed(found)
    ]
