"""OTLP over gRPC, with the exporter's own messages."""

import socket
import subprocess
import sys

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from .conftest import Start
from .messages import logs, span, traces


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_all_signals_are_received(start: Start) -> None:
    port = free_port()
    running = start("--grpc-port", str(port))
    record = LogRecord()
    record.body.string_value = "sent by gRPC"
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="grpc_stock")
    metric.gauge.data_points.add(as_int=3)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        TraceServiceStub(channel).Export(ExportTraceServiceRequest.FromString(traces(span(31))), timeout=20)
        LogsServiceStub(channel).Export(ExportLogsServiceRequest.FromString(logs(record)), timeout=20)
        MetricsServiceStub(channel).Export(metrics, timeout=20)

    assert "GET /items" in running.page(f"/traces/{31:032x}")
    assert "sent by gRPC" in running.page("/logs")
    assert "grpc_stock" in running.page("/metrics")


def test_beyond_loopback_the_token_is_needed(start: Start) -> None:
    port = free_port()
    running = start("--host", "0.0.0.0", "--grpc-port", str(port))
    token = running.log.read_text().partition("?token=")[2].split()[0]
    request = ExportTraceServiceRequest.FromString(traces(span(32)))

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError) as refused:
            TraceServiceStub(channel).Export(request, timeout=20)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {token}")]
        TraceServiceStub(channel).Export(request, timeout=20, metadata=metadata)


def test_a_taken_port_is_reported(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "starkeel_dashboard", "--port", "0", "--grpc-port", port],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 69
    assert f"cannot listen on 127.0.0.1:{port} for gRPC" in done.stderr
    assert "Traceback" not in done.stderr
