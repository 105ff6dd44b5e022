"""Spans like those of a service with a database, as OTLP requests."""

import os
import time
import urllib.request
from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_BATCH = 1000
_SPANS_PER_TRACE = 8


def send_spans(url: str, count: int) -> Iterator[int]:
    """Send spans in batches of 1,000; yields their number after each.

    Args:
        url: URL of the receiver.
        count: Number of spans.
    """
    for sent in range(_BATCH, count + 1, _BATCH):
        request = urllib.request.Request(f"{url}/v1/traces", data=_batch())
        request.add_header("Content-Type", "application/x-protobuf")
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()
        yield sent


def _batch() -> bytes:
    export = ExportTraceServiceRequest()
    resource = export.resource_spans.add(resource=Resource(attributes=[_text("service.name", "shop")]))
    scope = resource.scope_spans.add()
    for _ in range(_BATCH // _SPANS_PER_TRACE):
        trace_id, root = os.urandom(16), os.urandom(8)
        scope.spans.append(_request(trace_id, root))
        scope.spans.extend(_query(trace_id, root) for _ in range(_SPANS_PER_TRACE - 1))
    content: bytes = export.SerializeToString()
    return content


def _request(trace_id: bytes, span_id: bytes) -> Span:
    texts = {
        "http.request.method": "GET",
        "http.route": "/items/{item_id}",
        "url.path": f"/items/{span_id.hex()}",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "user_agent.original": "curl/7.88.1",
        "client.address": "127.0.0.1",
    }
    attributes = [_text(name, value) for name, value in texts.items()]
    attributes.append(KeyValue(key="http.response.status_code", value=AnyValue(int_value=200)))
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        name="GET /items/{item_id}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns() + 5_000_000,
        attributes=attributes,
    )


def _query(trace_id: bytes, parent_id: bytes) -> Span:
    texts = {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT items",
        "db.query.text": "SELECT items.id, items.name, items.price FROM items WHERE items.id = $1 FOR UPDATE",
    }
    return Span(
        trace_id=trace_id,
        span_id=os.urandom(8),
        parent_span_id=parent_id,
        name="SELECT items",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns() + 700_000,
        attributes=[_text(name, value) for name, value in texts.items()],
    )


def _text(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))
