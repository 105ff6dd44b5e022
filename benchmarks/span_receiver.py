"""OTLP/HTTP receiver that counts server spans, decoded by OpenTelemetry's own classes."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .server_process import pinned, stop

_ROOT = Path(__file__).parents[1]
_EXPORT_TIMEOUT_S = 30.0


class SpanReceiver:
    """A receiver in a process of its own.

    Attributes:
        endpoint: Value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """

    def __init__(self) -> None:
        command = [*pinned(1), sys.executable, "-m", "benchmarks.span_receiver"]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def take(self) -> int:
        """Return how many server spans have arrived since the last call."""
        with urllib.request.urlopen(self.endpoint, timeout=120) as response:
            return int(response.read())

    def verify(self, contender: str, requests: int, *, connections: int) -> None:
        """Check that each request has exported one server span.

        At its end wrk gives up one request per connection, which may still be served; the spans of those of
        the round before may arrive in this one.

        Raises:
            SystemExit: Spans are missing, or there are too many.
        """
        spans = self.take()
        deadline = time.monotonic() + _EXPORT_TIMEOUT_S
        while spans < requests and time.monotonic() < deadline:
            time.sleep(0.5)
            spans += self.take()
        if not requests <= spans <= requests + 2 * connections:
            raise SystemExit(f"void: {contender} served {requests} requests and exported {spans} spans")

    def close(self) -> None:
        stop(self._process)


_bodies: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = self.headers["content-length"]
        body = self.rfile.read(int(length)) if length is not None else b"".join(self._chunks())
        _bodies.append(body)
        self._respond(b"")

    def do_GET(self) -> None:
        # Decoded only here, between rounds, so that it takes no CPU time from one.
        received = [_bodies.pop() for _ in range(len(_bodies))]
        self._respond(str(sum(map(_server_spans, received))).encode())

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: Any) -> None:
        pass

    def _respond(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _server_spans(body: bytes) -> int:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    return sum(
        span.kind == 2
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
