"""Requests of exporters, in protobuf and JSON."""

import contextlib
import json
import socket
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seatrial._drill.collector import Collector
from seatrial._drill.spans import DecodeError, decode
from starkeel_testing import wait_until


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _attribute(name: str, value: bytes) -> bytes:
    return _bytes(1, name.encode()) + _bytes(2, value)


def _request() -> bytes:
    attributes = [
        _attribute("url.path", _bytes(1, b"/items")),
        _attribute("is.cached", _number(2, 1)),
        _attribute("http.response.status_code", _number(3, 503)),
        _attribute("offset", _number(3, -5)),
        _attribute("seconds", _varint(4 << 3 | 1) + struct.pack("<d", 0.5)),
        _attribute("names", _bytes(5, _bytes(1, _bytes(1, b"a")) + _bytes(1, _bytes(1, b"b")))),
        _attribute("map", _bytes(6, _bytes(1, _attribute("key", _bytes(1, b"value"))))),
    ]
    event = _bytes(2, b"exception") + _bytes(3, _attribute("exception.type", _bytes(1, b"ValueError")))
    span = (
        _bytes(1, bytes(range(16))) + _bytes(2, bytes(range(8))) + _bytes(4, bytes(8))
        + _bytes(5, b"GET /items") + _number(6, 2)
        + _varint(7 << 3 | 1) + bytes(8) + b"".join(_bytes(9, each) for each in attributes)
        + _bytes(11, event) + _bytes(15, _bytes(2, b"away") + _number(3, 2)) + _varint(16 << 3 | 5) + bytes(4)
    )  # fmt: skip
    return _bytes(1, _bytes(1, b"") + _bytes(2, _bytes(1, b"") + _bytes(2, span)))


def test_span_in_protobuf() -> None:
    (span,) = decode(_request(), is_json=False)
    assert span.trace_id == bytes(range(16)).hex()
    assert (span.span_id, span.parent_id) == (bytes(range(8)).hex(), "00" * 8)
    assert (span.name, span.is_server, span.is_error, span.status_message) == (
        "GET /items",
        True,
        True,
        "away",
    )
    assert span.attributes == {
        "url.path": "/items",
        "is.cached": True,
        "http.response.status_code": 503,
        "offset": -5,
        "seconds": 0.5,
        "names": ["a", "b"],
        "map": {"key": "value"},
    }
    assert span.events == (("exception", {"exception.type": "ValueError"}),)


def test_span_in_json_with_names_of_kinds() -> None:
    text = {
        "traceId": "AB" * 16, "spanId": "CD" * 8, "name": "GET", "kind": "SPAN_KIND_SERVER",
        "status": {"code": "STATUS_CODE_ERROR"},
        "attributes": [
            {"key": "code", "value": {"intValue": "500"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}},
        ],
    }  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [text]}]}]}).encode()
    (span,) = decode(body, is_json=True)
    assert (span.trace_id, span.is_server, span.is_error) == ("ab" * 16, True, True)
    assert span.attributes == {"code": 500, "list": ["a"]}


@given(st.binary(max_size=200), st.booleans())
def test_malformed_request_raises_one_error(body: bytes, is_json: bool) -> None:
    # Any other exception fails the test.
    with contextlib.suppress(DecodeError):
        assert isinstance(decode(body, is_json=is_json), list)


@pytest.mark.parametrize("cut", range(1, 40))
def test_cut_request_is_malformed(cut: int) -> None:
    with pytest.raises(DecodeError):
        decode(_request()[:-cut], is_json=False)


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    try:
        yield found
    finally:
        found.close()


def _post(collector: Collector, body: bytes, timeout_s: float = 5, **headers: str) -> int:
    names = {"Content-Type": "application/x-protobuf"} | {k.replace("_", "-"): v for k, v in headers.items()}
    request = urllib.request.Request(f"{collector.url}/v1/traces", body, names)
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        status: int = response.status
        return status


def test_collector_reads_compressed_requests(collector: Collector) -> None:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    body = compressor.compress(_request()) + compressor.flush()
    assert _post(collector, body, Content_Encoding="gzip") == 200
    assert [span.name for span in collector.servers_since(0)] == ["GET /items"]


def test_collector_reports_what_it_cannot_read(collector: Collector) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _post(collector, b"\xff\xff")
    assert "cannot be read" in collector.problems[0]


def test_collector_is_away_and_back(collector: Collector) -> None:
    collector.stop()
    with pytest.raises(urllib.error.URLError):
        _post(collector, _request())
    collector.start()
    assert _post(collector, _request()) == 200


def test_stalled_collector_answers_after_it_has_recovered(collector: Collector) -> None:
    collector.stall()
    body = _request()
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until(lambda: bool(collector.spans), timeout_s=10)
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(10)
        collector.recover()
        assert connection.recv(12) == b"HTTP/1.1 200"
