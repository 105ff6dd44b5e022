"""Markup, control characters and text directions in every string that a page shows."""

from collections.abc import Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from .conftest import Running, dashboard
from .messages import PROTOBUF, logs, span, text, traces
from .services import FakeService

MARKUP = "\"'><script src=//evil.example></script><img src=x onerror=alert(1)>{{7777*7}}\u202e\x1b[31m"
TRACE = 9
PATHS = (
    *("/", "/logs", "/traces", "/metrics", "/settings", "/database", "/api-documents"),
    *(f"/traces/{TRACE:032x}", f"/traces?attribute={quote(MARKUP)}", f"/traces?service={quote(MARKUP)}"),
    *(f"/logs?text={quote('<')}&service={quote(MARKUP)}", f"/logs?level={quote(MARKUP)}"),
    *(f"/metrics?text={quote(MARKUP)}", f"/settings?shown={quote(MARKUP)}&text={quote(MARKUP)}"),
    f"/database?service={quote(MARKUP)}",
)


class Tags(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A dashboard that has received markup in every string."""
    with dashboard(tmp_path_factory.mktemp("dashboard")) as running:
        for signal, body in (("traces", _spans()), ("logs", _logs()), ("metrics", _metrics())):
            assert running.post(signal, body, content_type=PROTOBUF).status_code == 200
        yield running


def _spans() -> bytes:
    marked = [text(name, MARKUP) for name in ("http.request.method", "http.route", "url.full", MARKUP)]
    client = [text(name, MARKUP) for name in ("db.query.text", "error.type")]
    sent = span(TRACE, 1, name=MARKUP, attributes=marked)
    sent.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=MARKUP))
    event = [text(f"exception.{part}", MARKUP) for part in ("type", "message", "stacktrace")]
    sent.events.add(name="exception", attributes=event)
    sent.events.add(name=MARKUP, attributes=[text(MARKUP, MARKUP)])
    statement = span(TRACE, 2, parent=1, name=MARKUP, kind=Span.SPAN_KIND_CLIENT, attributes=client)
    return traces(sent, statement, service=MARKUP)


def _logs() -> bytes:
    record = LogRecord(severity_number=17, severity_text=MARKUP, trace_id=TRACE.to_bytes(16, "big"))
    record.body.string_value = MARKUP
    record.attributes.extend([text(MARKUP, MARKUP), text("exception.stacktrace", MARKUP)])
    return logs(record, service=MARKUP)


def _metrics() -> bytes:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add(resource=Resource(attributes=[text("service.name", MARKUP)]))
    metric = resource.scope_metrics.add().metrics.add(name=MARKUP, unit=MARKUP, description=MARKUP)
    metric.gauge.data_points.add(as_double=1.0, attributes=[text(MARKUP, MARKUP)])
    content: bytes = request.SerializeToString()
    return content


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:12])
def test_nothing_that_was_received_is_interpreted(marked: Running, path: str) -> None:
    page = marked.page(path)

    tags = Tags()
    tags.feed(page)
    assert [attributes for tag, attributes in tags.found if tag == "script"] == [
        {"src": "/static/dashboard.js", "defer": None}
    ]
    names = {tag for tag, _ in tags.found}
    assert "img" not in names
    given: set[str] = {name for _, attributes in tags.found for name in attributes}
    assert not {name for name in given if name.startswith("on")}
    assert "54439" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_markup_is_shown_as_text(marked: Running) -> None:
    for path in ("/", "/logs", "/traces", "/metrics", "/database", f"/traces/{TRACE:032x}"):
        assert "&gt;&lt;script src=//evil.example&gt;" in marked.page(path), path


def test_documents_of_services_are_not_interpreted(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "info": {"title": MARKUP},
        "paths": {
            f"/{MARKUP}": {"post": {"summary": MARKUP, "requestBody": {"content": {"application/json": {}}}}}
        },
    }
    settings = [{"variable": MARKUP, "value": MARKUP, "source": MARKUP}]
    with ExitStack() as stack:
        service = stack.enter_context(FakeService(document=document, settings=settings, check=MARKUP))
        named = f"shop={service.url},{service.url}/admin"
        running = stack.enter_context(dashboard(tmp_path, "--service", named))
        service.wait_until_polled(times=2)
        for path in ("/", "/settings", "/api-documents"):
            page = running.page(path)
            tags = Tags()
            tags.feed(page)
            assert len([tag for tag, _ in tags.found if tag == "script"]) == 1
            assert "&gt;&lt;script src=//evil.example&gt;" in page
