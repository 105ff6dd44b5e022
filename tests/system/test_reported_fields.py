"""Access line, span, metric, problem, headers and application agree about each fact of a request.

The service is behind a trusted proxy, so that the peer of the connection is never the client.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from socket import create_connection
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2
import pytest
from starkeel_testing import OtlpReceiver, Service, Span, running, wait_until
from websockets.sync.client import connect

from ..support.raw_http import Connection, Reply

UNMATCHED = "__unmatched__"
AGENT = "field-test/1.0"
PARENT = "00-{:032x}-00f067aa0ba902b7-01"
_numbers = count(1)


class Kind(NamedTuple):
    """A request, and the facts that its response does not have.

    Attributes:
        lines: Further header fields.
        label: Method in reports.
    """

    method: str
    path: str
    status: int
    route: str | None
    lines: tuple[str, ...] = ()
    body: bytes = b""
    label: str | None = None
    version: str = "1.1"


KINDS = {
    "success": Kind("GET", "/items/7", 200, "/items/{item_id}"),
    "head": Kind("HEAD", "/items/7", 200, "/items/{item_id}"),
    "head of an unknown path": Kind("HEAD", "/nowhere", 404, None),
    "body": Kind("POST", "/items", 201, "/items", body=b'{"name":"a"}'),
    "invalid body": Kind("POST", "/items", 400, "/items", body=b'{"name":7}'),
    "other type": Kind("POST", "/items", 415, "/items", ("Content-Type: text/plain",), b"{}"),
    "span of the application": Kind("GET", "/seen", 200, "/seen"),
    "unknown path": Kind("GET", "/nowhere/else", 404, None),
    "ambiguous path": Kind("GET", "/a/../items/7", 400, None),
    "escaped path": Kind("GET", "/names/a%20b%22%7Bc", 200, "/names/{name}"),
    "path with a secret": Kind("GET", "/names/password=hunter2", 200, "/names/{name}"),
    "method that is not allowed": Kind("DELETE", "/items", 405, "/items"),
    "unknown method": Kind("BREW", "/items", 501, "/items", label="_OTHER"),
    "failure": Kind("GET", "/fails/x", 500, "/fails/{name}"),
    "timeout": Kind("GET", "/late", 504, "/late"),
    "slow": Kind("GET", "/slow", 200, "/slow"),
    "stream": Kind("GET", "/stream", 200, "/stream"),
    "empty": Kind("GET", "/nothing", 204, "/nothing"),
    "mounted": Kind("GET", "/files/a", 200, ""),
    "old version": Kind("GET", "/items/7", 200, "/items/{item_id}", version="1.0"),
    "malformed body": Kind("POST", "/raw", 400, "/raw", ("Transfer-Encoding: chunked",), b"zz\r\n"),
}


@pytest.fixture(scope="module")
def otlp() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module", params=["development", "production"])
def sample(request: pytest.FixtureRequest, otlp: OtlpReceiver) -> Iterator[Service]:
    """The sample; in development spans are objects, which the admin port shows."""
    env = {
        "ENVIRONMENT": request.param,
        "PYTHONPATH": str(Path(__file__).parent),
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "LOG_SLOW_REQUEST_SECONDS": "0.25",
        "RATE_LIMIT_SAMPLE": "1/hour",
    }
    with running("protocol_sample", env) as service:
        yield service


class Reports(NamedTuple):
    """Everything that is reported of one request."""

    line: dict[str, Any]
    span: Span
    recent: dict[str, Any] | None
    counted: dict[str, str]
    duration_s: float


def forwarded(client: str) -> list[str]:
    return [f"X-Forwarded-For: {client}", "X-Forwarded-Proto: https"]


def send(
    sample: Service, kind: Kind, *, client: str, traceparent: str | None, request_id: str | None
) -> Reply:
    lines = ["Host: shop.example:8443", f"User-Agent: {AGENT}", *forwarded(client), *kind.lines]
    lines += [f"traceparent: {traceparent}"] if traceparent else []
    lines += [f"X-Request-ID: {request_id}"] if request_id else []
    if kind.body and not kind.lines:
        lines.append("Content-Type: application/json")
    if kind.body and "chunked" not in str(kind.lines):
        lines.append(f"Content-Length: {len(kind.body)}")
    head = "\r\n".join([f"{kind.method} {kind.path} HTTP/{kind.version}", *lines, "", ""])
    with Connection(sample.url) as connection:
        connection.send(head.encode() + kind.body)
        return connection.reply(has_body=kind.method != "HEAD")


def series(sample: Service, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {
        tuple(sorted(each.labels.items())): each.value
        for each in sample.metrics()
        if each.name == name and each.value and not each.labels["path"].startswith("/health/")
    }


def increases(sample: Service, name: str, before: dict[Any, float]) -> dict[Any, float]:
    return {
        labels: value - before.get(labels, 0.0)
        for labels, value in series(sample, name).items()
        if value != before.get(labels, 0.0)
    }


class Before:
    """The metrics before a request; `reports` returns what has been reported since."""

    def __init__(self, sample: Service, otlp: OtlpReceiver) -> None:
        self._sample, self._otlp = sample, otlp
        self._has_recent = "spans" in httpx2.get(f"{sample.admin_url}/traces", trust_env=False).text
        self._counts = series(sample, "http_requests_total")
        self._sums = series(sample, "http_requests_duration_seconds_sum")

    def reports(self, **fields: str) -> Reports:
        """Return the reports of the only request since; `fields` are those of its access line."""
        sample = self._sample
        line = sample.wait_for_log("request completed", **fields)
        counts = wait_until(
            lambda: increases(sample, "http_requests_total", self._counts), timeout_s=10, what="the counter"
        )
        [(labels, value)] = counts.items()
        assert value == 1
        [(duration_labels, duration_s)] = increases(
            sample, "http_requests_duration_seconds_sum", self._sums
        ).items()
        assert duration_labels == labels
        [span] = [
            span
            for span in self._otlp.wait_for(
                lambda spans: any(span.kind == "server" for span in spans), trace_id=line["trace_id"]
            )
            if span.kind == "server"
        ]
        recent = None
        if self._has_recent:
            recent = wait_until(lambda: self._recent(line["span_id"]), timeout_s=10, what="the trace")
        return Reports(line, span, recent, dict(labels), duration_s)

    def _recent(self, span_id: str) -> dict[str, Any] | None:
        found = httpx2.get(f"{self._sample.admin_url}/traces", trust_env=False).json()
        answers = found.get("workers", [found])
        spans = [span for answer in answers for span in answer.get("spans", [])]
        return next((span for span in spans if span["span_id"] == span_id), None)


def assert_agreement(reports: Reports, kind: Kind, *, client: str) -> None:
    line, span, counted = reports.line, reports.span, reports.counted
    attributes = span.attributes
    assert (
        line["method"]
        == attributes["http.request.method"]
        == counted["method"]
        == (kind.label or kind.method)
    )
    assert line["status"] == attributes["http.response.status_code"] == int(counted["status"]) == kind.status
    assert line.get("route") == attributes.get("http.route") == kind.route
    assert counted["path"] == (kind.route or UNMATCHED)
    assert line["path"] == attributes["url.path"]
    assert line["client"] == attributes["client.address"] == client
    assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
    # The line has whole microseconds.
    assert line["duration_ms"] == pytest.approx((span.end_ns - span.start_ns) / 1e6, abs=0.002)
    assert line["duration_ms"] == pytest.approx(reports.duration_s * 1e3, abs=0.002)
    assert attributes["url.scheme"] == ("wss" if kind.status == 101 else "https")
    assert (attributes["server.address"], attributes["server.port"]) == ("shop.example", 8443)
    assert attributes["network.protocol.version"] == kind.version
    assert attributes["user_agent.original"] == AGENT
    if reports.recent is not None:
        assert {name: reports.recent["attributes"].get(name) for name in attributes} == attributes


@pytest.mark.parametrize("is_traced", [False, True], ids=["new trace", "given trace"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_all_reports_of_a_request_agree(
    sample: Service, otlp: OtlpReceiver, kind: Kind, is_traced: bool
) -> None:
    number = next(_numbers)
    client = f"203.0.113.{number}"
    traceparent = PARENT.format(number) if is_traced else None
    request_id = f"given-{number}" if is_traced else None
    before = Before(sample, otlp)

    reply = send(sample, kind, client=client, traceparent=traceparent, request_id=request_id)

    assert reply.status == kind.status
    sent_id = reply.headers["x-request-id"]
    reports = before.reports(request_id=sent_id)
    assert_agreement(reports, kind, client=client)
    line = reports.line
    # From outside, as a proxy forwards it: a new trace, linked to the given one.
    given = ((f"{number:032x}", "00f067aa0ba902b7"),) if is_traced else ()
    assert (reports.span.links, reports.span.parent_span_id) == (given, "")
    assert sent_id == (request_id or line["trace_id"])
    assert line["bytes"] == len(reply.body if "transfer-encoding" not in reply.headers else b"onetwo")
    assert reply.headers["strict-transport-security"]
    if reply.headers.get("content-type") == "application/problem+json" and reply.body:
        problem = json.loads(reply.body)
        assert (problem["status"], problem["request_id"]) == (kind.status, sent_id)
        assert problem["instance"] == quote(line["path"], safe="/:@!$&'()*+,;=-._~")
    for other in sample.logs():
        if other.get("request_id") == sent_id:
            assert other["trace_id"] == line["trace_id"]
            assert other.get("method", line["method"]) == line["method"]
            assert other.get("route", line.get("route")) == line.get("route")


def test_the_application_receives_what_is_reported(sample: Service, otlp: OtlpReceiver) -> None:
    client = f"203.0.113.{next(_numbers)}"
    before = Before(sample, otlp)

    reply = send(sample, KINDS["span of the application"], client=client, traceparent=None, request_id=None)

    reports = before.reports(request_id=reply.headers["x-request-id"])
    seen = json.loads(reply.body)
    assert seen == {"client": client, "scheme": "https", "trace_id": reports.line["trace_id"]}
    assert reports.span.attributes["sample.client"] == client


def test_limits_count_the_client_that_is_reported(sample: Service, otlp: OtlpReceiver) -> None:
    first, second = (f"203.0.113.{next(_numbers)}" for _ in range(2))
    for client, status in ((first, 200), (first, 429), (second, 200), (second, 429)):
        before = Before(sample, otlp)
        kind = Kind("GET", "/limited", status, "/limited")

        reply = send(sample, kind, client=client, traceparent=None, request_id=None)

        assert reply.status == status
        assert_agreement(before.reports(request_id=reply.headers["x-request-id"]), kind, client=client)


def test_all_reports_of_a_websocket_agree(sample: Service, otlp: OtlpReceiver) -> None:
    client = f"203.0.113.{next(_numbers)}"
    headers = dict(line.split(": ") for line in forwarded(client))
    connection = create_connection(("127.0.0.1", int(sample.url.rpartition(":")[2])))
    before = Before(sample, otlp)

    with (
        connect(
            "ws://shop.example:8443/socket",
            sock=connection,
            additional_headers=headers,
            user_agent_header=AGENT,
        ) as socket,
        suppress(Exception),
    ):
        socket.recv()

    kind = Kind("GET", "/socket", 101, "/socket")
    assert_agreement(before.reports(client=client), kind, client=client)


def test_the_routes_of_the_admin_port_have_the_paths_of_the_metrics(sample: Service) -> None:
    found = httpx2.get(f"{sample.admin_url}/routes", trust_env=False).text
    for kind in KINDS.values():
        if kind.route:
            assert re.search(rf'"{re.escape(kind.route)}"', found), kind.route
