"""Takes spans and counts them: OTLP over HTTP, the messages read by the official classes."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_lock = threading.Lock()
_bodies: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = self.headers["content-length"]
        body = self.rfile.read(int(length)) if length is not None else b"".join(self._chunks())
        with _lock:
            _bodies.append(body)
        self._answer(b"")

    def do_GET(self) -> None:
        """How many server spans came since the last time; read only now, so that it costs no run."""
        with _lock:
            bodies, _bodies[:] = list(_bodies), []
        self._answer(str(sum(map(_server_spans, bodies))).encode())

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _server_spans(body: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(body)
    return sum(
        span.kind == 2
        for found in request.resource_spans
        for scope in found.scope_spans
        for span in scope.spans
    )


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
