"""OTLP messages."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
START_NS = 1_790_000_000_000_000_000


def text(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))


def span(trace: int, number: int = 1, *, parent: int = 0, **fields: object) -> Span:
    """Return a span with ids made from numbers."""
    values: dict[str, object] = {
        "name": "GET /items",
        "kind": Span.SPAN_KIND_SERVER,
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": START_NS + 5_000_000,
    }
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        **(values | fields),  # type: ignore[arg-type]
    )


def traces(*spans: Span, service: str = "shop") -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add(resource=Resource(attributes=[text("service.name", service)]))
    resource.scope_spans.add(spans=spans)
    return request.SerializeToString()


def logs(*records: LogRecord, service: str = "shop") -> bytes:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add(resource=Resource(attributes=[text("service.name", service)]))
    resource.scope_logs.add(log_records=records)
    return request.SerializeToString()
