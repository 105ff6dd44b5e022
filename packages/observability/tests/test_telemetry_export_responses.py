"""Responses that are not those of a collector: status, media type, content and duration."""

import gzip
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from starkeel_observability._traces.senders import _accepted

from .test_telemetry_export import PROTOBUF, ScriptedCollector, scripted

__all__ = ["scripted"]


def partly(rejected: int) -> bytes:
    success = ExportTracePartialSuccess(rejected_spans=rejected)
    return ExportTraceServiceResponse(partial_success=success).SerializeToString()


NOT_OTLP: dict[str, tuple[int, dict[str, str], bytes]] = {
    "202": (202, PROTOBUF, b""),
    "204": (204, {}, b""),
    "302": (302, {"location": "/private"}, b"private"),
    "a page": (200, {"content-type": "text/html"}, b"<html>private</html>"),
    "JSON": (200, {"content-type": "application/json"}, b'{"partialSuccess": {}}'),
    "no media type": (200, {}, partly(1)),
    "compressed": (200, PROTOBUF | {"content-encoding": "gzip"}, gzip.compress(partly(1))),
    "another message": (200, PROTOBUF, b"<html>private</html>"),
    "a cut message": (200, PROTOBUF, partly(1)[:-1]),
    "a long number": (200, PROTOBUF, b"\x0a\x0b\x08" + b"\xff" * 10),
    "more than were sent": (200, PROTOBUF, partly(1_000_000)),
    "less than none": (200, PROTOBUF, partly(-1)),
    "too large": (200, PROTOBUF, b"\x12\xff\xff\x07" + b"x" * 131_071),
}


def test_spans_count_as_exported_only_by_a_response_of_otlp(
    samples: Any, scripted: ScriptedCollector
) -> None:
    sample = samples.ready(
        OTEL_EXPORTER_OTLP_ENDPOINT=scripted.endpoint, LOG_LEVEL="warn,starkeel_server=info"
    )
    for number, name in enumerate(NOT_OTLP, start=1):
        scripted.responses = [NOT_OTLP[name]]
        sample.get("/pid")
        samples.wait_until(
            lambda number=number: sample.metric("starkeel_spans_dropped_total", reason="refused") == number,
            what=name,
        )
    assert sample.metric("starkeel_spans_exported_total") == 0
    # None was sent twice.
    assert len(scripted.times) == len(NOT_OTLP)

    unknown_field = b"\x12\x01x"
    for content in (b"", unknown_field, partly(0) + unknown_field):
        before = sample.metric("starkeel_spans_exported_total")
        scripted.responses = [(200, PROTOBUF, content)]
        sample.get("/pid")
        sample.wait_for_metric(before + 1, "starkeel_spans_exported_total")
    sample.wait_for_log("spans dropped")
    assert "span export failed" not in sample.output
    assert "private" not in sample.output


@given(st.binary())
@settings(deadline=None)
def test_any_content_is_a_result(content: bytes) -> None:
    try:
        expected = ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans
    except DecodeError:
        assert _accepted(content).rejected == 0
    else:
        result = _accepted(content)
        # Groups, which are obsolete, are not supported.
        assert result.error is not None or result.rejected == expected % (1 << 64)


@pytest.mark.parametrize("piece", [b"HTTP/1.1 100 Continue\r\n\r\n", b"x"], ids=["interim", "bytes"])
def test_a_response_that_never_ends_is_given_up(samples: Any, piece: bytes) -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send_for_ever() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if piece == b"x":
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
                # Not `sleep`: ends with the test.
                while not ended.wait(0.02):
                    connection.sendall(piece)

        def run() -> None:
            with suppress(OSError):
                send_for_ever()

        threading.Thread(target=run, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="500")
        sample.get("/pid")
        samples.wait_until(lambda: sample.metric("starkeel_spans_dropped_total", reason="unavailable") == 1)
        assert not ended.is_set()
        ended.set()
