"""Log records of an OTLP request."""

import sys
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2

from .._store.records import LogRecord
from .values import attributes, plain, service_name, shorten

_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_MAX_FIELDS_BYTES: Final = 65_536
_MAX_SEVERITY: Final = 24
_encoder: Final = msgspec.json.Encoder()


def level_of(severity: int) -> str:
    """Return the level of a severity number; `-` if it is not known."""
    return _LEVELS[(severity - 1) // 4] if 1 <= severity <= _MAX_SEVERITY else "-"


def severity_of(level: str) -> int:
    """Return the lowest severity number of a level by its name; 0 if it is not known."""
    names = {"WARNING": "WARN", "CRITICAL": "FATAL", "ERR": "ERROR", "NOTICE": "INFO"}
    name = names.get(level.upper(), level.upper())
    return _LEVELS.index(name) * 4 + 1 if name in _LEVELS else 0


def encode_fields(fields: dict[str, Any]) -> bytes:
    """Return fields as a JSON object; those that are too large together are left out, the last first."""
    encoded = _encoder.encode(fields)
    while len(encoded) > _MAX_FIELDS_BYTES and fields:
        fields.popitem()
        encoded = _encoder.encode({**fields, "…": "further fields are too large to keep"})
    return encoded


def count_logs(request: ExportLogsServiceRequest) -> int:
    """Return the number of log records of a request."""
    return sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)


def read_logs(request: ExportLogsServiceRequest) -> Iterator[LogRecord]:
    """Yield the log records of a request."""
    for resource in request.resource_logs:
        service = sys.intern(service_name(resource.resource.attributes))
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield _record(record, service, scope.scope.name)


def _record(record: logs_pb2.LogRecord, service: str, scope: str) -> LogRecord:
    severity = record.severity_number or severity_of(record.severity_text)
    body = plain(record.body)
    fields = attributes(record.attributes)
    if isinstance(body, dict):
        fields, body = {**body, **fields}, body.get("message", record.event_name or "")
    if scope:
        fields.setdefault("target", shorten(scope, 300))
    return LogRecord(
        time_ns=record.time_unix_nano or record.observed_time_unix_nano,
        service=service,
        severity=severity,
        level=level_of(severity),
        message=body if isinstance(body, str) else _encoder.encode(body).decode(),
        trace_id=record.trace_id,
        span_id=record.span_id,
        fields=encode_fields(fields),
    )
