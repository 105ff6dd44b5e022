"""Access log lines rendered directly as JSON, since they are the majority of all lines."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import lru_cache
from typing import Any, Final, Literal

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from structlog.contextvars import bind_contextvars, clear_contextvars

from .._compat import attach
from .._request.request import LONGEST_PATH, Key, RequestRecord, RequestTemplate
from .record import RESERVED, format_second, json_line, shorten_path
from .sanitize import Sanitizer, encodable, mask, sanitize_name
from .sink import ACCESS_LOGGER
from .structlog import LOGGERS, PROCESSORS, deliver

_INFO: Final = 20
FIELDS: Final = RESERVED | {"method", "path", "status", "route", "duration_ms", "bytes", "client"}
"""Names of the fields of a line."""
_NO_IDS: Final = ',"trace_id":"","span_id":""'
_SECOND_NS: Final = 1_000_000_000
_THREE_DIGITS: Final = tuple(f"{number:03d}" for number in range(1000))
_HEAD: Final = f'Z","level":"INFO","target":"{ACCESS_LOGGER}","message":"request completed",'
_FILE: Final = shorten_path(__file__)
_logger: Final = LOGGERS(ACCESS_LOGGER)


def line_path() -> Literal["rendered", "structlog", "none"]:
    """Return how lines are written: rendered here if they are JSON and structlog has no other processors."""
    sink = LOGGERS.sink
    if sink is None:
        return "structlog"
    if _logger.level > _INFO:
        return "none"
    is_rendered = sink.is_json and len(PROCESSORS) == 1 and PROCESSORS[0] is deliver
    return "rendered" if is_rendered else "structlog"


def write(records: Sequence[RequestRecord], offset_ns: int) -> None:
    """Write the lines of successful requests; see `render_lines`."""
    sink = LOGGERS.sink
    if sink is not None and records:
        end = _line_end(sink.service, sink.version)
        sink.write(_INFO, end.join([*render_lines(records, offset_ns), ""]).encode(), len(records))


def render_lines(records: Iterable[RequestRecord], offset_ns: int) -> list[str]:
    """Render lines without their end; fields and order are those of `record.line_fields`.

    Paths are escaped and redacted before; `offset_ns` is that of `clock_offset_ns`.
    """
    where = f',"file":{_json(_FILE)},"line":1,"threadId":{threading.get_native_id()},"trace_id":"'
    lines: list[str] = []
    second_began = second_ended = 0
    moment = ""
    for template, client, path, began, ended, sent_bytes, ids, request_id, _ in records:
        if not second_began <= ended < second_ended:
            second = (ended + offset_ns) // _SECOND_NS
            second_began = second * _SECOND_NS - offset_ns
            second_ended = second_began + _SECOND_NS
            moment = f'{{"timestamp":"{format_second(second)}.'
        # A table is three times as fast as formatting.
        us, took_us = (ended - second_began) // 1000, (ended - began) // 1000
        hexed = ids.hex()
        line = (
            f"{moment}{_THREE_DIGITS[us // 1000]}{_THREE_DIGITS[us % 1000]}{template.line_before}{path}"
            f'{template.line_after}{took_us // 1000}.{_THREE_DIGITS[took_us % 1000]},"bytes":{sent_bytes}'
            f'{client.line}{where}{hexed[:32]}","span_id":"{hexed[32:]}","request_id":"{request_id}"'
        )
        lines.append(line if ids else "".join(line.rsplit(_NO_IDS, 1)))
    return lines


def template_parts(key: Key) -> tuple[str, str]:
    """Return the parts of a line that requests with the same key share: before the path and after it."""
    method, route, status = key
    route_field = "" if route is None else f',"route":{_json(mask(route))}'
    return f'{_HEAD}"method":"{method}","path":"', f'","status":{status}{route_field},"duration_ms":'


def with_bound_fields(template: RequestTemplate, bound: Mapping[str, Any]) -> RequestTemplate:
    """Return a copy of a template with bound fields in its line."""
    sanitizer = Sanitizer()
    fields = {sanitize_name(name): sanitizer.field(name, value) for name, value in bound.items()}
    rendered = f"{json_line(fields)[1:-2].decode()},"
    line = f"{_HEAD}{rendered}{template.line_before.removeprefix(_HEAD)}", template.line_after
    return RequestTemplate(template.key, template.span, line, is_fast=False)


def client_field(address: str | None) -> str:
    """Render the field for the client's address."""
    return "" if address is None else f',"client":{_json(mask(address))}'


def clean_path(path: str) -> str:
    """Return a path redacted, shortened and escaped for JSON."""
    return _json(mask(path[:LONGEST_PATH]))[1:-1]


@lru_cache(maxsize=8)
def _line_end(service: str, version: str) -> str:
    return f',"service":{_json(mask(service))},"version":{_json(mask(version))}}}\n'


def log_request(
    method: Callable[..., Any], record: RequestRecord, ids: bytes, bound: Mapping[str, Any]
) -> None:
    """Write a line through structlog, in the context of the request: for other formats and processors."""
    template, client, path, began, ended, sent_bytes, _, request_id, _ = record
    fields = access_fields(template.key, path, ended - began, sent_bytes, client.address)
    trace_id, span_id = int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big")
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False))

    def write_line() -> None:
        clear_contextvars()
        bind_contextvars(**{**bound, "request_id": request_id})
        attach(set_span_in_context(span, Context()))
        method("request completed", **fields)

    copy_context().run(write_line)


def access_fields(
    key: Key, path: str, duration_ns: int, sent_bytes: int, client: str | None
) -> dict[str, Any]:
    """Return the fields of a line, except ids."""
    method, route, status = key
    fields: dict[str, Any] = {"method": method, "path": path[:LONGEST_PATH], "status": status}
    if route is not None:
        fields["route"] = route
    fields["duration_ms"] = round(duration_ns / 1e6, 3)
    fields["bytes"] = sent_bytes
    if client is not None:
        fields["client"] = client
    return fields


def _json(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return json_line(encodable(text))[:-1].decode()
