"""Receiver of spans: OTLP over HTTP with protobuf, on a real socket."""

import gzip
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from .spans import Span, decode


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
        """Stop, and close open connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    def _receive(self, body: bytes) -> None:
        spans = list(decode(ExportTraceServiceRequest.FromString(body)))
        with self._changed:
            self._spans += spans
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receive = receive
        self.connections: set[socket.socket] = set()

    def close_connections(self) -> None:
        """End all threads that wait for another request."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

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
        if self.path != "/v1/traces":
            self._respond(404)
            return
        if self.headers.get("Content-Type") != "application/x-protobuf":
            self._respond(415)
            return
        try:
            is_compressed = self.headers.get("Content-Encoding") == "gzip"
            self.server.receive(gzip.decompress(body) if is_compressed else body)
        except (DecodeError, OSError, EOFError):
            self._respond(400)
        else:
            self._respond(200, ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_: object) -> None:
        pass

    def _respond(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
