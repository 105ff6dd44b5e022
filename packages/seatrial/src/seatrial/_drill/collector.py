"""A collector of traces: OTLP over HTTP, in protobuf or JSON."""

import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .spans import DecodeError, Span, decode

_LARGEST_BODY = 32 << 20


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    collector: "Collector"

    def handle_error(self, *_: object) -> None:
        """Write nothing: exporters are killed while they send."""


class Collector:
    """Receives spans on a port of the loopback interface. It can be away, or accept without a response."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.problems: list[str] = []
        self._is_answering = threading.Event()
        self._is_answering.set()
        self._server = self._listen(0)
        self.port = self._server.server_port

    @property
    def url(self) -> str:
        """Base URL, for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Span]:
        """All spans so far."""
        return list(self._spans)

    def servers_since(self, start: int) -> list[Span]:
        """Return the spans of received requests, from a position on."""
        return [span for span in self.spans[start:] if span.is_server]

    def receive(self, path: str, body: bytes, *, content_type: str, encoding: str) -> int:
        """Store the spans of a request; return the status of the response."""
        if not path.endswith("/v1/traces"):
            return 200
        try:
            if encoding == "gzip":
                body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, _LARGEST_BODY)
            self._spans += decode(body, is_json="json" in content_type)
        except (DecodeError, zlib.error) as error:
            self.problems.append(str(error))
            return 400
        self._is_answering.wait()
        return 200

    def stop(self) -> None:
        """Refuse connections until `start`."""
        self._server.shutdown()
        self._server.server_close()

    def start(self) -> None:
        """Listen again, on the same port."""
        self._server = self._listen(self.port)

    def stall(self) -> None:
        """Accept requests without responses until `recover`."""
        self._is_answering.clear()

    def recover(self) -> None:
        """Answer again, also the requests that wait."""
        self._is_answering.set()

    def close(self) -> None:
        """Release the port."""
        self.recover()
        self.stop()

    def _listen(self, port: int) -> _Server:
        server = _Server(("127.0.0.1", port), _Handler)
        server.collector = self
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Receive a request of an exporter."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = self._chunks()
        else:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _LARGEST_BODY))
        status = self.server.collector.receive(
            self.path,
            body,
            content_type=self.headers.get("Content-Type", ""),
            encoding=self.headers.get("Content-Encoding", ""),
        )
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/x-protobuf"))
        content = b"{}" if "json" in self.headers.get("Content-Type", "") else b""
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(64).partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline(8)
        self.rfile.readline(8)
        return body

    def log_message(self, *_: object) -> None:
        """Write no log."""
