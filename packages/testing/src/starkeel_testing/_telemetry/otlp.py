"""A receiver of telemetry: OTLP over HTTP with protobuf, on a real socket."""

import gzip
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from .spans import Span, received


class OtlpReceiver:
    """Takes spans at `/v1/traces` and keeps them; `otlp` is the fixture.

    What is no valid export is answered 400, other signals and paths 404, and other content types 415.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._spans: list[Span] = []
        self._server = _Server(self._take)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def spans(self, trace_id: str | None = None) -> list[Span]:
        """Return the spans so far, in the order of arrival; of one trace, or all."""
        with self._changed:
            return [span for span in self._spans if trace_id in {None, span.trace_id}]

    def wait_for(
        self,
        predicate: Callable[[Sequence[Span]], bool],
        *,
        trace_id: str | None = None,
        timeout_s: float = 15.0,
    ) -> list[Span]:
        """Return the spans as soon as the predicate is true for them.

        Args:
            predicate: Given all the spans there are, at each arrival.
            trace_id: Only spans of this trace; None for all.
            timeout_s: Seconds to wait.

        Raises:
            AssertionError: It never was; tells which spans have come.
        """
        with self._changed:
            if self._changed.wait_for(lambda: predicate(self.spans(trace_id)), timeout_s):
                return self.spans(trace_id)
        come = "\n".join(f"{span.service}: {span.name} ({span.kind})" for span in self.spans(trace_id))
        raise AssertionError(f"waited {timeout_s:g} s for other spans than these:\n{come or 'none'}")

    def close(self) -> None:
        """Stop, and cut the connections that are left."""
        self._server.shutdown()
        self._thread.join()
        self._server.cut()
        self._server.server_close()

    def _take(self, body: bytes) -> None:
        spans = list(received(ExportTraceServiceRequest.FromString(body)))
        with self._changed:
            self._spans += spans
            self._changed.notify_all()


@contextmanager
def receiving() -> Iterator[OtlpReceiver]:
    """Run a receiver until the block ends."""
    receiver = OtlpReceiver()
    try:
        yield receiver
    finally:
        receiver.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.take = take
        self.connections: set[socket.socket] = set()

    def cut(self) -> None:
        """Wake every thread that waits for another request."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Keep quiet about exporters that went away."""


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
            self._answer(404)
            return
        if self.headers.get("Content-Type") != "application/x-protobuf":
            self._answer(415)
            return
        try:
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            self.server.take(gzip.decompress(body) if is_packed else body)
        except (DecodeError, OSError, EOFError):
            self._answer(400)
        else:
            self._answer(200, ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
