"""Requests that the receiver accepts, refuses and drops."""

import gzip
import json
import threading

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from starkeel_testing import wait_until

from .conftest import Running, Start
from .messages import JSON, PROTOBUF, START_NS, logs, span, text, traces

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"


def as_json(**fields: object) -> str:
    one = {"traceId": TRACE, "spanId": SPAN, "name": "GET /json", "kind": 2, **fields}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "json-shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [one]}]}]})


def test_spans_of_protobuf_are_shown_with_their_attributes(running: Running) -> None:
    sent = span(1, attributes=[text("user.tier", "gold")])

    response = running.post("traces", traces(sent), content_type=PROTOBUF)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == PROTOBUF
    page = running.page(f"/traces/{1:032x}")
    assert "GET /items" in page
    assert "user.tier" in page
    assert "gold" in page


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_ids_of_json_are_hexadecimal(running: Running, coding: str) -> None:
    body = as_json(startTimeUnixNano=str(START_NS), endTimeUnixNano=str(START_NS + 1000)).encode()
    body = gzip.compress(body) if coding == "gzip" else body

    response = running.post("traces", body, content_type=JSON, **{"Content-Encoding": coding})

    assert (response.status_code, response.json()) == (200, {})
    (found,) = running.client.get("/data/spans", params={"trace": TRACE}).json()
    assert (found["span_id"], found["service"], found["name"]) == (SPAN, "json-shop", "GET /json")


def test_a_span_that_is_sent_again_is_kept_once(running: Running) -> None:
    for name in ("first", "second"):
        response = running.post("traces", traces(span(6, name=name)), content_type=PROTOBUF)
        assert response.status_code == 200

    (found,) = running.client.get("/data/spans", params={"trace": f"{6:032x}"}).json()
    assert found["name"] == "first"


def test_log_records_link_to_their_trace(running: Running) -> None:
    record = LogRecord(
        time_unix_nano=START_NS,
        severity_number=17,
        trace_id=(77).to_bytes(16, "big"),
        attributes=[text("exception.stacktrace", "Traceback\n  at line 1"), text("order_id", "o-1")],
    )
    record.body.string_value = "order failed"

    assert running.post("logs", logs(record), content_type=PROTOBUF).status_code == 200

    page = running.page("/logs?field=order_id%3Do-1&level=ERROR")
    assert "order failed" in page
    assert f'href="/traces/{77:032x}"' in page
    assert "  at line 1</pre>" in page
    assert "order failed" not in running.page("/logs?field=order_id%3Do-2")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "problem"),
    [
        (b"\x0a\xff\xff", PROTOBUF, 400, "is no ExportTraceServiceRequest in protobuf"),
        (b"{", JSON, 400, "is no ExportTraceServiceRequest in JSON"),
        (b"[]", JSON, 400, "is not an object"),
        (b'{"resourceSpans": 3}', JSON, 400, "in JSON"),
        (as_json(traceId="xyz").encode(), JSON, 400, "`traceId` is not hexadecimal: 'xyz'"),
        (b"[" * 100_000, JSON, 400, "in JSON"),
        (b'{"resourceSpans": ' + b"[" * 500 + b"]" * 500 + b"}", JSON, 400, "nested too deeply"),
        (b'{"resourceSpans": [{"schemaUrl": "\\ud800"}]}', JSON, 400, "in JSON"),
        (b"x", "text/plain", 415, "'text/plain' is not application/x-protobuf or application/json"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value)[:30],
)
def test_malformed_bodies_are_refused_with_a_reason(
    running: Running, body: bytes, content_type: str, status: int, problem: str
) -> None:
    response = running.post("traces", body, content_type=content_type)

    assert response.status_code == status
    if content_type == PROTOBUF:
        assert problem in Status.FromString(response.content).message
    else:
        assert problem in response.json()["message"]


@pytest.mark.parametrize(
    ("body", "coding", "problem"),
    [
        (b"plain text", "gzip", "not in gzip"),
        (gzip.compress(b"{}", mtime=0)[:-9], "gzip", "ends before its gzip stream"),
        (b"x", "br", "'br' is not supported"),
    ],
    ids=["no gzip", "cut off", "unsupported"],
)
def test_wrong_content_codings_are_refused(running: Running, body: bytes, coding: str, problem: str) -> None:
    response = running.post("traces", body, content_type=JSON, **{"Content-Encoding": coding})

    assert response.status_code == 400
    assert problem in response.json()["message"]


def test_a_compressed_bomb_is_refused(running: Running) -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), compresslevel=1)
    before = running.rss_bytes

    response = running.post("traces", bomb, content_type=JSON, **{"Content-Encoding": "gzip"})

    assert response.status_code == 413
    assert running.rss_bytes < before + 120 * 1024 * 1024


def test_a_body_that_is_too_large_is_refused(running: Running) -> None:
    response = running.post("logs", bytes(33 * 1024 * 1024), content_type=PROTOBUF)

    assert response.status_code == 413


def test_an_attribute_of_ten_megabytes_is_cut(running: Running) -> None:
    sent = span(3, attributes=[text("large", "é" * 5_000_000), text("small", "kept")])

    assert running.post("traces", traces(sent), content_type=PROTOBUF).status_code == 200

    page = running.page(f"/traces/{3:032x}")
    assert len(page) < 60_000
    assert "more characters)" in page
    assert "kept" in page


@pytest.mark.parametrize(("start_ns", "end_ns"), [(0, 2**64 - 1), (2**64 - 1, 0), (0, 0)])
def test_absurd_times_break_no_page(running: Running, start_ns: int, end_ns: int) -> None:
    sent = [
        span(4, 1, start_time_unix_nano=start_ns, end_time_unix_nano=end_ns),
        span(4, 2, parent=1),
        span(4, 3, parent=3),
    ]
    record = LogRecord(time_unix_nano=end_ns)
    record.body.string_value = "absurd"

    assert running.post("traces", traces(*sent), content_type=PROTOBUF).status_code == 200
    assert running.post("logs", logs(record), content_type=PROTOBUF).status_code == 200

    for path in ("/", "/traces", "/traces?order=slowest", "/logs", "/metrics", f"/traces/{4:032x}"):
        assert "</html>" in running.page(path)


def test_spans_without_valid_ids_are_left_out(running: Running) -> None:
    sent = span(5, name="without an id")
    sent.span_id = b"\x01"

    assert running.post("traces", traces(sent), content_type=PROTOBUF).status_code == 200
    assert "without an id" not in running.page("/traces")


def test_a_flood_is_shed_and_counted(start: Start) -> None:
    running = start("--records-per-second", "1000", "--span-megabytes", "1")
    flood = traces(*(span(trace, 1) for trace in range(1, 5001)))

    response = running.post("traces", flood, content_type=PROTOBUF)

    assert response.status_code == 200
    answer = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert answer.rejected_spans == 4000
    assert "an option of the dashboard" in answer.error_message
    assert "4000 spans were dropped" in running.page("/")


def test_the_oldest_traces_make_room(start: Start) -> None:
    running = start("--span-megabytes", "1")

    for first in range(1, 8001, 1000):
        body = traces(*(span(trace, 1) for trace in range(first, first + 1000)))
        assert running.post("traces", body, content_type=PROTOBUF).status_code == 200

    assert running.client.get(f"/traces/{1:032x}").status_code == 404
    assert running.client.get(f"/traces/{8000:032x}").status_code == 200


def test_requests_beyond_the_pending_bytes_are_refused_and_counted(start: Start) -> None:
    running = start()
    released = threading.Event()
    chunk = bytes(1024 * 1024)

    def body() -> object:
        for _ in range(25):
            yield chunk
        released.wait(60)

    def send(statuses: list[int]) -> None:
        headers = {"Content-Type": PROTOBUF}
        with httpx2.Client(base_url=running.url, timeout=60, trust_env=False) as client:
            statuses.append(client.post("/v1/traces", content=body(), headers=headers).status_code)  # type: ignore[arg-type]

    statuses: list[int] = []
    threads = [threading.Thread(target=send, args=[statuses]) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: "were refused while" in running.page("/"), timeout_s=60, what="a refusal")
    finally:
        released.set()
        for thread in threads:
            thread.join(60)
    assert statuses.count(503) >= 1
    assert running.post("traces", traces(span(1)), content_type=PROTOBUF).status_code == 200
