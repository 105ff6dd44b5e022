"""The plugin under other servers."""

from collections.abc import Iterator
from typing import Any

import pytest
import starkeel_observability
import structlog
from litestar import Litestar, get
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send
from prometheus_client import REGISTRY
from starkeel_config import load
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings
from structlog.testing import capture_logs


@get("/hello")
async def hello() -> str:
    structlog.get_logger("test").info("hello")
    return "hello"


class Edge(InitPlugin):
    """Stands for the edge layer; fails for one path."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        def wrap(app: Litestar) -> None:
            inner = app.asgi_handler

            async def edge(scope: Scope, receive: Receive, send: Send) -> None:
                if scope["path"] == "/raises":
                    raise RuntimeError("the edge is broken")
                await inner(scope, receive, send)

            app.asgi_handler = edge

        app_config.on_startup.append(wrap)
        return app_config


def plugin(**environ: str) -> ObservabilityPlugin:
    return ObservabilityPlugin(load(ObservabilitySettings, environ, service="orders"))


@pytest.fixture(params=["first", "last"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient[Litestar]]:
    plugins: list[InitPlugin] = [plugin(), Edge()]
    app = Litestar([hello], plugins=plugins if request.param == "first" else plugins[::-1])
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


def counted(**labels: str) -> float:
    return REGISTRY.get_sample_value("http_requests_total", labels) or 0.0


def test_under_other_servers_requests_have_ids_and_are_counted(client: TestClient[Litestar]) -> None:
    labels = {"method": "GET", "path": "/hello", "status": "200"}
    before = counted(**labels)

    response = client.get("/hello", headers={"X-Request-ID": "tested"})

    assert response.headers["x-request-id"] == "tested"
    assert counted(**labels) == before + 1


def test_lines_of_a_request_have_its_id_and_nothing_stays_bound(client: TestClient[Litestar]) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        client.get("/hello", headers={"X-Request-ID": "tested"})

    assert [(line["event"], line["request_id"]) for line in lines] == [
        ("hello", "tested"),
        ("request completed", "tested"),
    ]
    assert structlog.contextvars.get_contextvars() == {}


async def test_an_unhandled_exception_is_a_500_with_a_request_id_and_is_logged() -> None:
    labels = {"method": "GET", "path": "__unmatched__", "status": "500"}
    before = counted(**labels)
    app = Litestar([hello], plugins=[Edge(), plugin()])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "method": "GET", "path": "/raises", "query_string": b""}
    scope["headers"] = [(b"x-request-id", b"raised")]
    async with app.lifespan():
        with capture_logs() as lines:
            await app(scope, receive, send)

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 500
    assert (b"x-request-id", b"raised") in sent[0]["headers"]
    assert counted(**labels) == before + 1
    failed = next(line for line in lines if line["event"] == "request failed")
    assert isinstance(failed["exc_info"], RuntimeError)


def test_an_application_started_twice_is_wrapped_once() -> None:
    app = Litestar([hello], plugins=[plugin()])
    labels = {"method": "GET", "path": "/hello", "status": "200"}
    before = counted(**labels)

    for _ in range(2):
        with TestClient(app) as client:
            client.get("/hello")

    assert counted(**labels) == before + 2


def test_litestars_logger_is_structlogs() -> None:
    app = Litestar([hello], plugins=[plugin()])

    with capture_logs() as lines:
        app.logger.info("by litestar", number=1)

    assert lines == [{"event": "by litestar", "number": 1, "log_level": "info"}]


@pytest.mark.parametrize(
    ("environ", "is_on", "why"),
    [
        ({}, False, "OTEL_EXPORTER_OTLP_ENDPOINT is not set"),
        ({"OTEL_SDK_DISABLED": "true"}, False, "OTEL_SDK_DISABLED is true"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:hunter2@c:4318"}, True, "sent to c:4318 by http/protobuf"),
    ],
)
def test_the_start_report_names_the_destination_of_traces(
    environ: dict[str, str], is_on: bool, why: str
) -> None:
    features = {name: (on, reason) for name, on, reason in plugin(**environ).features()}

    assert features["traces"][0] is is_on
    assert why in features["traces"][1]
    assert features["logs"] == (True, "LOG_FORMAT is json, LOG_LEVEL is info")


def test_a_tracer_provider_of_the_application_is_kept(samples: Any, collector: Any) -> None:
    app = samples.directory / "sample" / "app.py"
    app.write_text(
        app.read_text()
        + "\nfrom opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"
        "OWN = TracerProvider()\ntrace.set_tracer_provider(OWN)\n"
        "assert trace.get_tracer_provider() is OWN\n"
    )
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)

    assert sample.get("/items/1").json()["traceparent"]
    features = sample.wait_for_log("features")
    assert "traces (by the application's own tracer provider)" in features["on"]
    assert sample.stop() == 0
    assert not sample.found("Overriding of current TracerProvider is not allowed")
    assert collector.requests == []


def test_the_public_surface() -> None:
    for name in starkeel_observability.__all__:
        assert getattr(starkeel_observability, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = starkeel_observability.no_such_name
