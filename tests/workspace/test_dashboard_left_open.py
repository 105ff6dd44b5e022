"""A page of the dashboard that is left open while services go on: a night's updates, in a short time."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from starkeel_testing import wait_until

from tests.support.browser import Page, browser_page

# The server announces a change at most once a second; the test announces as many as it likes.
PREPARE = """
    window.sources = [];
    window.responses = 0;
    const request = window.fetch;
    window.fetch = (...given) => request(...given).finally(() => { window.responses += 1; });
    window.EventSource = class extends EventSource {
        constructor(...given) { super(...given); window.sources.push(this); }
    };
"""
UPDATE = """(async () => {
    const before = window.responses;
    for (let update = 0; update < %d; update++) {
        const expected = window.responses + 1;
        while (window.responses < expected) {
            // It is ignored while the page still reads the response before.
            window.sources[0].dispatchEvent(new Event("change"));
            await new Promise(next => setTimeout(next, 5));
        }
    }
    return window.responses - before;
})()"""
UPDATES, PARTS = 6, 8
RECORDS = 200


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "starkeel_dashboard", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"(http://\S+?)/?\s", process.stdout.readline())
            assert found is not None
            yield found[1], psutil.Process(process.pid)
        finally:
            process.terminate()


@pytest.mark.parametrize("path", ["/", "/logs", "/traces"])
def test_a_page_that_is_left_open_keeps_its_size(
    dashboard: tuple[str, psutil.Process], tmp_path: Path, path: str
) -> None:
    url, process = dashboard
    with browser_page(tmp_path / "profile") as page, httpx2.Client(base_url=url, trust_env=False) as client:
        page.run_in_new_documents(PREPARE)
        send(client)
        page.open(f"{url}{path}")
        page.wait_for(
            "window.sources?.length === 1 && document.querySelector('#live')?.innerText.includes('shop')"
        )
        # Until it shows as many lines as it ever does.
        leave_open(page, client)
        page_before, server_before = page.memory(), process.memory_info().rss
        leave_open(page, client)
        server_after = process.memory_info().rss

        # A collection may leave the nodes of the last document to the next one.
        wait_until(
            lambda: page.memory().nodes <= page_before.nodes * 1.1,
            timeout_s=30,
            what=lambda: str(page.memory()),
        )
        page_after = page.memory()
        assert page.errors == []
    assert page_after.listeners <= page_before.listeners * 1.1
    assert page_after.heap_bytes <= page_before.heap_bytes * 1.2
    # Beside what is received, of which at most the 36 MB of all bounds are kept.
    assert server_after <= server_before + 40e6


def leave_open(page: Page, client: httpx2.Client) -> None:
    """Let services send records, and the page read itself again, many times."""
    for _ in range(PARTS):
        send(client)
        assert page.evaluate(UPDATE % UPDATES) >= UPDATES


def send(client: httpx2.Client) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    for path, message in (("/v1/logs", log_records()), ("/v1/traces", spans())):
        assert client.post(path, content=message.SerializeToString(), headers=headers).status_code == 200


def log_records() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.append(name())
    scope = resource.scope_logs.add()
    for number in range(RECORDS):
        body = AnyValue(string_value=f"order {number} created")
        scope.log_records.add(time_unix_nano=time.time_ns(), body=body, severity_number=9)
    return request


def spans() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(name())
    scope = resource.scope_spans.add()
    for number in range(RECORDS):
        now = time.time_ns()
        scope.spans.add(
            trace_id=(now + number).to_bytes(16, "big"),
            span_id=(now + number).to_bytes(8, "big"),
            name="GET /items",
            kind=2,
            start_time_unix_nano=now - 5_000_000,
            end_time_unix_nano=now,
        )
    return request


def name() -> KeyValue:
    return KeyValue(key="service.name", value=AnyValue(string_value="shop"))
