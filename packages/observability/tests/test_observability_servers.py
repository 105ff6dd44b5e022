"""The plugin alone, under the servers that an ordinary application uses."""

import json
import logging
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starkeel_testing import wait_until

from tests.support.asgi_servers import Served, served

APP = """
import logging
import warnings
from contextlib import asynccontextmanager

import structlog
from litestar import Litestar, get
from opentelemetry import trace
from starkeel_config import load
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings

log = structlog.get_logger("shop")
extra = logging.getLogger("extra")
extra.addHandler(logging.FileHandler("extra.log"))


@asynccontextmanager
async def lifespan(app):
    log.info("pool opened")
    yield
    log.info("pool closed")


@get("/tasks/{number:int}")
async def work(number: int) -> str:
    log.info("structured", number=number)
    logging.getLogger("shop.standard").info("standard %d", number)
    warnings.warn("deprecated", stacklevel=1)
    extra.info("both")
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


@get("/fails")
async def fails() -> None:
    raise RuntimeError("broken")


ENVIRON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "{endpoint}", "OTEL_BSP_SCHEDULE_DELAY": "60000"}
settings = load(ObservabilitySettings, ENVIRON, service="shop")
plugin = ObservabilityPlugin(settings, metrics_path="/health/metrics")
app = Litestar([work, fails], lifespan=[lifespan], plugins=[plugin])
"""
SERVERS = ["uvicorn", "uvicorn-workers", "hypercorn", "granian", "litestar"]


def lines_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def messages_of(output: str) -> list[str]:
    return [line["message"] for line in lines_of(output)]


@pytest.fixture
def directory(tmp_path: Path, collector: Any) -> Path:
    (tmp_path / "shop.py").write_text(textwrap.dedent(APP).replace("{endpoint}", collector.endpoint))
    return tmp_path


@pytest.fixture(params=SERVERS)
def running(request: pytest.FixtureRequest, directory: Path) -> Iterator[Served]:
    with served(request.param, "shop:app", directory) as running:
        yield running


def test_every_line_of_the_application_is_written_once(
    running: Served, collector: Any, directory: Path
) -> None:
    trace_id = httpx2.get(f"{running.url}/tasks/7").text
    assert httpx2.get(f"{running.url}/fails").status_code == 500
    wait_until(lambda: "request failed" in running.output, timeout_s=30, what="the failure")
    repeated = [httpx2.get(f"{running.url}/tasks/{number}").status_code for number in range(20)]
    running.stop()

    output = running.output
    lines = lines_of(output)
    messages = messages_of(output)
    [structured] = [
        line
        for line in lines
        if line["message"] == "structured" and line["number"] == 7 and line["trace_id"] == trace_id
    ]
    assert structured["request_id"]
    assert messages.count("pool opened") == messages.count("pool closed") >= 1
    assert repeated == [200] * 20
    assert sum(message.startswith("standard ") for message in messages) == 21
    assert "deprecated" in messages
    assert messages.count("both") == (directory / "extra.log").read_text().count("both") == 21
    failed = next(line for line in lines if line["message"] == "request failed")
    assert failed["exception"]["message"] == "broken"
    assert {span["trace_id"] for span in collector.spans if span["name"].endswith("/tasks/{number}")} >= {
        trace_id
    }


def test_access_lines_appear_once_and_only_as_ours(running: Served) -> None:
    for number in range(5):
        httpx2.get(f"{running.url}/tasks/{number}")
    running.stop()

    mentions = [line for line in running.output.splitlines() if "/tasks/" in line]
    ours = [line for line in lines_of(running.output) if line["message"] == "request completed"]
    assert len(mentions) == len([line for line in ours if line["path"].startswith("/tasks/")]) == 5


def test_metrics_of_the_process_are_served_without_a_line(running: Served) -> None:
    httpx2.get(f"{running.url}/tasks/1")
    scraped = httpx2.get(f"{running.url}/health/metrics")
    running.stop()

    assert scraped.headers["Content-Type"].startswith("text/plain; version=")
    assert 'starkeel_build_info{revision="unknown",service="shop"' in scraped.text
    assert "/health/metrics" not in running.output


def test_lines_of_the_server_are_written_once(running: Served) -> None:
    httpx2.get(f"{running.url}/tasks/1")
    running.stop()

    plain = [line for line in running.output.splitlines() if not line.startswith("{")]
    messages = set(messages_of(running.output))
    assert not [line for line in plain if any(line.endswith(message) for message in messages)]
    assert not [
        line for line in lines_of(running.output) if any("\x1b" in str(value) for value in line.values())
    ]


def test_a_test_client_leaves_the_logging_of_the_test_runner_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litestar import Litestar
    from litestar.testing import TestClient
    from starkeel_config import load
    from starkeel_observability import ObservabilityPlugin, ObservabilitySettings

    monkeypatch.setattr("starkeel_observability._plugin.is_set_up", lambda: False)
    before = logging.root.handlers[:]
    app = Litestar([], plugins=[ObservabilityPlugin(load(ObservabilitySettings, {}, service="shop"))])

    with caplog.at_level("INFO"), TestClient(app):
        assert logging.root.handlers == before
        logging.getLogger("shop").info("captured")

    assert "captured" in caplog.messages
    assert [message for message in caplog.messages if message.startswith("logging not set up")]
