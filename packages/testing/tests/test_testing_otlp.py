"""The OTLP receiver."""

import gzip
import socket
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from starkeel_testing import OtlpReceiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def _request(name: str = "GET /", *, trace_id: str = TRACE, **fields: Any) -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(
        KeyValue(key="service.name", value=AnyValue(string_value="shop"))
    )
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "checkout"
    span = ProtoSpan(
        name=name, trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex("00f067aa0ba902b7"), **fields
    )
    scope_spans.spans.append(span)
    return request.SerializeToString()


def _send(otlp: OtlpReceiver, body: bytes, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{otlp.endpoint}/v1/traces", content=body, headers=PROTOBUF | headers)


def test_a_span_is_received_as_sent(otlp: OtlpReceiver) -> None:
    values = ArrayValue(values=[AnyValue(int_value=1), AnyValue(bool_value=True)])
    event = ProtoSpan.Event(
        name="retry", attributes=[KeyValue(key="delay", value=AnyValue(double_value=0.5))]
    )
    link = ProtoSpan.Link(trace_id=bytes(range(16)), span_id=bytes(range(8)))

    response = _send(
        otlp,
        _request(
            parent_span_id=bytes.fromhex("00f067aa0ba902b8"),
            kind=ProtoSpan.SPAN_KIND_SERVER,
            attributes=[KeyValue(key="list", value=AnyValue(array_value=values)), KeyValue(key="none")],
            status=Status(code=Status.STATUS_CODE_ERROR, message="failed"),
            events=[event],
            links=[link],
            start_time_unix_nano=1_700_000_000_000_000_001,
            end_time_unix_nano=1_700_000_000_000_000_002,
        ),
    )

    assert response.status_code == 200
    assert ExportTraceServiceResponse.FromString(response.content) == ExportTraceServiceResponse()
    [span] = otlp.spans()
    assert (span.name, span.kind, span.service, span.scope) == ("GET /", "server", "shop", "checkout")
    assert (span.trace_id, span.span_id, span.parent_span_id) == (
        TRACE,
        "00f067aa0ba902b7",
        "00f067aa0ba902b8",
    )
    assert span.attributes == {"list": [1, True], "none": None}
    assert span.resource == {"service.name": "shop"}
    assert (span.status, span.status_message) == ("error", "failed")
    assert span.events == (("retry", {"delay": 0.5}),)
    assert span.links == (("000102030405060708090a0b0c0d0e0f", "0001020304050607"),)
    assert (span.start_ns, span.end_ns) == (1_700_000_000_000_000_001, 1_700_000_000_000_000_002)


def test_a_root_has_no_parent_and_an_unset_status(otlp: OtlpReceiver) -> None:
    _send(otlp, _request())

    [span] = otlp.spans()
    assert (span.parent_span_id, span.status, span.kind) == ("", "unset", "unspecified")


def test_a_compressed_export_is_decompressed(otlp: OtlpReceiver) -> None:
    assert _send(otlp, gzip.compress(_request()), **{"Content-Encoding": "gzip"}).status_code == 200
    assert len(otlp.spans()) == 1


def test_spans_are_selected_by_trace(otlp: OtlpReceiver) -> None:
    _send(otlp, _request("mine"))
    _send(otlp, _request("other", trace_id="0" * 31 + "1"))

    assert [span.name for span in otlp.spans(TRACE)] == ["mine"]
    assert len(otlp.spans()) == 2


def test_waiting_returns_the_expected_spans(otlp: OtlpReceiver) -> None:
    sender = Thread(target=lambda: [_send(otlp, _request(name)) for name in ("one", "two")])
    sender.start()

    spans = otlp.wait_for(lambda spans: len(spans) == 2, trace_id=TRACE)

    sender.join()
    assert [span.name for span in spans] == ["one", "two"]


def test_a_timeout_lists_the_received_spans(otlp: OtlpReceiver) -> None:
    _send(otlp, _request("something else"))

    with pytest.raises(AssertionError, match=r"shop: something else \(unspecified\)"):
        otlp.wait_for(lambda spans: len(spans) > 1, timeout_s=0.1)


@pytest.mark.parametrize(
    ("path", "content_type", "encoding", "body", "status"),
    [
        ("/v1/traces", "application/x-protobuf", "identity", b"\xff\xff", 400),
        ("/v1/traces", "application/x-protobuf", "gzip", b"not gzip", 400),
        ("/v1/traces", "application/json", "identity", b"{}", 415),
        ("/v1/metrics", "application/x-protobuf", "identity", b"", 404),
    ],
)
def test_an_invalid_export_is_rejected(
    otlp: OtlpReceiver, path: str, content_type: str, encoding: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}

    assert httpx2.post(f"{otlp.endpoint}{path}", content=body, headers=headers).status_code == status
    assert otlp.spans() == []


def test_closing_does_not_wait_for_clients() -> None:
    otlp = OtlpReceiver()
    port = urlsplit(otlp.endpoint).port
    with socket.create_connection(("127.0.0.1", port or 0)), httpx2.Client(base_url=otlp.endpoint) as client:
        client.post("/v1/traces", content=_request(), headers=PROTOBUF)

        otlp.close()

        with pytest.raises(httpx2.TransportError):
            client.post("/v1/traces", content=_request(), headers=PROTOBUF)
