"""Client spans for the statements of traced requests.

Names and attributes follow OpenTelemetry's stable semantic conventions for database clients. The recorded
query text has `?` in place of literals; parameters are never recorded.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, get_tracer
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from .._base.dsn import DatabaseUrl, PostgresUrl
from .pool import WAITED_S

_MAX_TEXT = 2048
_KEY = "starkeel_span"
_WAIT_TIME = "db.client.connection.wait_time"
"""Seconds; named like the metric in OpenTelemetry's conventions."""
_TARGET = re.compile(
    r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?([\w.\"]+)", re.IGNORECASE
)
_VERB = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|SELECT)\b", re.IGNORECASE)
_STRING = re.compile(r"'(?:[^']|'')*'")
_NUMBER = re.compile(r"(?<![\w$:.])\d+(?:\.\d+)?(?![\w.])")
# Quoting that the patterns above do not handle; such statements are not recorded.
_UNSUPPORTED = re.compile(r"\\|\$\$|\$[A-Za-z_]|--|/\*")


class StatementSummary(NamedTuple):
    """Name, operation and span attributes of a statement."""

    name: str
    operation: str
    attributes: dict[str, str]


def record_spans(engine: Engine, target: DatabaseUrl) -> None:
    """Record the statements of an engine as client spans."""
    tracer = get_tracer("starkeel_db")
    server = _server_attributes(target)

    @event.listens_for(engine, "before_cursor_execute")
    def start(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not get_current_span().is_recording():
            return
        summary = summarize(statement)
        if summary.operation != "BEGIN":
            attributes = {**server, **summary.attributes}
            # Recorded once per checkout, on its first statement.
            waited_s = connection.info.pop(WAITED_S, None)
            if waited_s is not None:
                attributes[_WAIT_TIME] = waited_s
            connection.info[_KEY] = tracer.start_span(
                summary.name, kind=SpanKind.CLIENT, attributes=attributes
            )

    @event.listens_for(engine, "after_cursor_execute")
    def end(connection: Connection, *_: Any) -> None:
        span: Span | None = connection.info.pop(_KEY, None)
        if span is not None:
            span.end()

    @event.listens_for(engine, "handle_error")
    def fail(context: ExceptionContext) -> None:
        if context.connection is None or context.connection.invalidated:
            return
        span: Span | None = context.connection.info.pop(_KEY, None)
        if span is not None:
            span.set_attribute("error.type", _error_type(context.original_exception))
            span.set_status(Status(StatusCode.ERROR))
            span.end()


@lru_cache(maxsize=1024)
def summarize(statement: str) -> StatementSummary:
    """Return the operation and target of a statement, and its text without literals."""
    operation = (statement.split(None, 1) or ["?"])[0].upper()[:32]
    if operation == "WITH" and (verb := _VERB.search(statement)):
        operation = verb[0].upper()
    found = _TARGET.search(statement)
    target = found[1].replace('"', "") if found else ""
    name = f"{operation} {target}".strip()
    attributes = {"db.operation.name": operation, "db.query.summary": name}
    if target:
        attributes["db.collection.name"] = target
    if not _UNSUPPORTED.search(statement):
        text = _NUMBER.sub("?", _STRING.sub("?", statement))
        attributes["db.query.text"] = text[:_MAX_TEXT]
    return StatementSummary(name, operation, attributes)


def _server_attributes(target: DatabaseUrl) -> dict[str, str | int | float]:
    if isinstance(target, PostgresUrl):
        return {
            "db.system.name": "postgresql",
            "db.namespace": target.database,
            "server.address": target.addresses[0].host,
            "server.port": target.addresses[0].port,
        }
    return {"db.system.name": "sqlite", "db.namespace": target.path.name}


def _error_type(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else type(error).__qualname__
