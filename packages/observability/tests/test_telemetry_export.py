"""Export to collectors that are slow, busy or faulty, with compression, and over gRPC."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starkeel_observability import ObservabilitySettings
from starkeel_observability._traces.senders import HttpSender

PROTOBUF = {"content-type": "application/x-protobuf"}
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class ScriptedCollector:
    """A collector that sends the scripted responses in order, and then accepts everything."""

    def __init__(self) -> None:
        self.responses: list[tuple[int, dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[str] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                scripted.times.append(time.monotonic())
                scripted.headers.append({name.lower(): value for name, value in self.headers.items()})
                status, headers, content = scripted.responses.pop(0) if scripted.responses else (200, {}, b"")
                if status == 200:
                    is_packed = self.headers.get("content-encoding") == "gzip"
                    scripted.spans += names(gzip.decompress(body) if is_packed else body)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def names(body: bytes) -> list[str]:
    received = ExportTraceServiceRequest.FromString(body)
    return [
        span.name
        for resource in received.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@pytest.fixture
def scripted() -> Iterator[ScriptedCollector]:
    made = ScriptedCollector()
    yield made
    made.close()


def test_retry_after_is_followed(samples: Any, scripted: ScriptedCollector) -> None:
    scripted.responses = [(429, {"retry-after": "2"}, b""), (503, {}, b"")]
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=scripted.endpoint)
    sample.get("/pid")

    samples.wait_until(lambda: scripted.spans == ["GET /pid"], what="the span")
    assert len(scripted.times) == 3
    # A lower bound: it waited for the requested delay.
    assert scripted.times[1] - scripted.times[0] >= 2
    sample.wait_for_metric(1, "starkeel_spans_exported_total")
    assert sample.metric("starkeel_spans_dropped_total") == 0


def test_refused_spans_are_counted_and_not_retried(samples: Any, scripted: ScriptedCollector) -> None:
    partly = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    )
    scripted.responses = [(400, {}, b""), (200, PROTOBUF, partly.SerializeToString())]
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=scripted.endpoint)
    sample.get("/pid")
    sample.wait_for_metric(1, "starkeel_spans_dropped_total", reason="refused")
    sample.get("/pid")

    sample.wait_for_metric(1, "starkeel_spans_dropped_total", reason="rejected")
    assert sample.metric("starkeel_spans_exported_total") == 0


def test_an_invalid_response_fails_no_request(samples: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send_garbage() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"\x00\xffnonsense\r\n" * 50)

        threading.Thread(target=send_garbage, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="300")
        for _ in range(20):
            assert sample.get("/pid").status_code == 200

        samples.wait_until(lambda: sample.metric("starkeel_spans_dropped_total", reason="unavailable") > 0)
        assert sample.stop() == 0


def test_queue_overflow_is_counted_and_memory_is_bounded(samples: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        sample = samples.ready(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_BSP_MAX_QUEUE_SIZE="100",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="50",
            OTEL_EXPORTER_OTLP_TIMEOUT="500",
            SHUTDOWN_FLUSH_SECONDS="1",
            LOG_LEVEL="warn,starkeel_server=info",
        )
        url = sample.url
        with httpx2.Client() as client:
            assert {client.get(f"{url}/pid").status_code for _ in range(1500)} == {200}
        samples.wait_until(lambda: sample.metric("starkeel_spans_dropped_total", reason="queue_full") > 500)


def test_spans_are_compressed_if_configured(samples: Any, scripted: ScriptedCollector) -> None:
    sample = samples.ready(
        OTEL_EXPORTER_OTLP_ENDPOINT=scripted.endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="gzip"
    )
    sample.get("/pid")

    samples.wait_until(lambda: scripted.spans == ["GET /pid"], what="the span")
    assert scripted.headers[0]["content-encoding"] == "gzip"
    assert scripted.headers[0]["content-type"] == "application/x-protobuf"


def test_the_default_port_of_an_ipv6_address(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *_: object) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    settings = ObservabilitySettings(service_name="orders", service_version="1")

    for url in ("http://[::1]/v1/traces", "https://[::1]/v1/traces"):
        assert HttpSender(url, settings)(b"", timeout_s=1).is_retryable

    assert connected == [("::1", 80), ("::1", 443)]


@pytest.mark.parametrize(("host", "compression"), [("127.0.0.1", "none"), ("[::1]", "gzip")])
def test_spans_over_grpc(samples: Any, host: str, compression: str) -> None:
    received: list[str] = []
    metadata: list[dict[str, str]] = []
    busy = [True]

    def export(body: bytes, context: Any) -> bytes:
        metadata.append(dict(context.invocation_metadata()))
        if busy and busy.pop():
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        received.extend(names(body))
        return b""

    handler = grpc.unary_unary_rpc_method_handler(export)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(METHOD.split("/")[1], {"Export": handler}),)
    )
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        sample = samples.ready(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{host}:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_EXPORTER_OTLP_COMPRESSION=compression,
            OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue",
            # A proxy for other requests: spans do not use it.
            http_proxy="http://127.0.0.1:1",
        )
        sample.get("/pid")
        samples.wait_until(lambda: received == ["GET /pid"], what="the span")
        assert sample.stop() == 0
    finally:
        server.stop(None)
    assert metadata[-1]["x-tenant"] == "blue"


def test_workers_do_not_import_the_sdk(samples: Any, scripted: ScriptedCollector) -> None:
    app = samples.directory / "sample" / "app.py"
    app.write_text(
        app.read_text().replace(
            '    return {"pid": os.getpid()}',
            "    import sys\n    heavy = ('opentelemetry.sdk', 'requests', 'google.protobuf')\n"
            "    return {'pid': sum(name.startswith(heavy) for name in sys.modules)}",
        )
    )
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=scripted.endpoint)
    sample.get("/pid")
    samples.wait_until(lambda: scripted.spans, what="a span")

    assert sample.get("/pid").json() == {"pid": 0}
