"""Receiver of spans: OTLP 1.x over HTTP with protobuf, on a real socket."""

import gzip
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from ._leaks import CHECKED, SENT, leaks


@dataclass(frozen=True)
class Span:
    """A finished span.

    Attributes:
        trace_id: 32 hexadecimal digits; a span id has 16.
        parent_span_id: Empty for a root.
        kind: `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
        service: `service.name` of the resource.
        scope: Name of the instrumentation scope.
        status: `unset`, `ok` or `error`.
        events: Name and attributes of each event, in order.
        links: Trace id and span id of each link, in order.
        start_ns: Nanoseconds since 1970.
    """

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    kind: str
    service: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    scope: str
    status: str
    status_message: str
    events: tuple[tuple[str, Mapping[str, Any]], ...]
    links: tuple[tuple[str, str], ...]
    start_ns: int
    end_ns: int


class OtlpReceiver:
    """Receives and keeps spans; the fixture is `otlp`.

    Invalid exports to `/v1/traces` receive status 400, other content types 415, other paths and signals 404.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._spans: list[Span] = []
        self._server = _Server(self._receive)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def spans(self, trace_id: str | None = None) -> list[Span]:
        """Return the spans so far, of one trace or all, in the order of arrival."""
        with self._changed:
            return [span for span in self._spans if trace_id in {None, span.trace_id}]

    def wait_for(
        self,
        predicate: Callable[[Sequence[Span]], bool],
        *,
        trace_id: str | None = None,
        timeout_s: float = 15.0,
    ) -> list[Span]:
        """Wait until the received spans satisfy a predicate and return them.

        Args:
            predicate: Called with all received spans after each export.
            trace_id: Only spans of this trace; `None` for all.
            timeout_s: Seconds to wait.

        Raises:
            AssertionError: They did not in time; the message lists the received spans.
        """
        with self._changed:
            if self._changed.wait_for(lambda: predicate(self.spans(trace_id)), timeout_s):
                return self.spans(trace_id)
        received = "\n".join(f"{span.service}: {span.name} ({span.kind})" for span in self.spans(trace_id))
        raise AssertionError(f"timed out after {timeout_s:g} s, received spans:\n{received or 'none'}")

    def close(self) -> None:
        """Stop, close open connections, and check that no span holds a secret that was sent.

        Raises:
            AssertionError: A span of a checked service does.
        """
        self._server.shutdown()
        self._thread.join()
        # Ends the threads that wait for another request.
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        spans = [span for span in self._spans if span.service in CHECKED]
        found = list(dict.fromkeys(leaks(repr(spans), SENT, has_code=True))) if spans else []
        assert not found, f"spans revealed:\n{chr(10).join(found)}"

    def _receive(self, body: bytes) -> None:
        spans = list(_decode(ExportTraceServiceRequest.FromString(body)))
        with self._changed:
            self._spans += spans
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receive = receive
        self.connections: set[socket.socket] = set()

    def handle_error(self, *_: object) -> None:
        """Ignore exporters that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.server.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.connections.discard(self.request)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        # An empty body is an ExportTraceServiceResponse without a partial success.
        self.send_response(self._status(body))
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _status(self, body: bytes) -> int:
        if self.path != "/v1/traces":
            return 404
        if self.headers.get("Content-Type") != "application/x-protobuf":
            return 415
        try:
            is_compressed = self.headers.get("Content-Encoding") == "gzip"
            self.server.receive(gzip.decompress(body) if is_compressed else body)
        except (DecodeError, OSError, EOFError):
            return 400
        return 200

    def log_message(self, *_: object) -> None:
        pass


def _decode(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _span(span, resource, scope_spans.scope.name)


def _span(span: trace_pb2.Span, resource: Mapping[str, Any], scope: str) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        service=str(resource.get("service.name", "")),
        attributes=_attributes(span.attributes),
        resource=resource,
        scope=scope,
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
        status_message=span.status.message,
        events=tuple((event.name, _attributes(event.attributes)) for event in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
