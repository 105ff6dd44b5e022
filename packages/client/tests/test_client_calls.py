"""Requests sent to an upstream, and handling of its responses."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starkeel_client import ClientPlugin, UpstreamSettings, UpstreamUrl
from starkeel_client._attempt import MAX_RESPONSE_BYTES
from starkeel_client._client import url_of
from starkeel_config import FeaturesHook, misspelled_hooks

Start = Callable[..., Any]


class Order(msgspec.Struct):
    product: str


def test_a_response_is_returned_whatever_its_status(server: Any, reply: Any, caller: Start) -> None:
    calling = caller()
    for status in (200, 201, 302, 400, 401, 403, 404, 409, 429, 500, 501):
        server.script(reply(status=status, headers={"X-Test": "yes", "Location": "/elsewhere"}, body=b"text"))

        response = calling.call().json()

        assert (response["status"], response["body"], response["headers"]["x-test"]) == (
            status,
            "text",
            "yes",
        )
    assert {request.path for request in server.received} == {"/"}


def test_path_query_headers_and_body_are_sent(server: Any, caller: Start) -> None:
    calling = caller(url=UpstreamUrl.parse(f"{server.url}/base/"))

    calling.call(
        lambda it: it.get("/orders/a%2Fb", params={"q": "a&b c"}, headers={"Authorization": "Bearer t"})
    )
    calling.call(lambda it: it.post("/orders", json=Order("tea")))

    got, posted = server.received
    assert (got.method, got.path) == ("GET", "/base/orders/a%2Fb?q=a%26b+c")
    assert got.headers["Authorization"] == "Bearer t"
    assert (posted.method, posted.path, posted.body) == ("POST", "/base/orders", b'{"product":"tea"}')
    assert posted.headers["Content-Type"] == "application/json"


def test_credentials_and_cookies_of_one_call_are_not_sent_with_the_next(
    server: Any, reply: Any, caller: Start
) -> None:
    server.script(reply(headers={"Set-Cookie": "session=secret; Path=/"}))
    calling = caller()

    calling.call(lambda it: it.get("/", headers={"Authorization": "Bearer t"}))
    calling.call(lambda it: it.get("/"))

    assert "Authorization" not in server.received[1].headers
    assert "Cookie" not in server.received[1].headers


def test_calls_share_connections_up_to_the_maximum(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))
    calling = caller(max_connections=2, timeout_s=30)

    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(calling.call) for _ in range(10)]
        server.wait_for_requests(2)
        server.go_on.set()
        assert {each.result(30).status_code for each in calls} == {200}

    assert len({request.port for request in server.received}) == 2


def test_a_response_is_bounded_while_it_is_decompressed(server: Any, reply: Any, caller: Start) -> None:
    # A thousand times larger than its 1 MB on the wire.
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(compressor.compress(b" " * 10_000_000) for _ in range(100)) + compressor.flush()
    server.script(reply(headers={"Content-Encoding": "gzip"}, body=bomb))
    calling = caller()
    tracemalloc.start()
    try:
        assert calling.call().status_code == 502
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_RESPONSE_BYTES


def test_request_id_and_remaining_time_are_propagated(server: Any, caller: Start) -> None:
    async def use(client: Any) -> Any:
        with structlog.contextvars.bound_contextvars(request_id="order-1"):
            return await client.get("/", headers={"X-Request-ID": "mine", "X-Request-Timeout": "900"})

    calling = caller(timeout_s=30)
    calling.call(use, deadline_s=20)
    calling.call(use, deadline_s=60)

    assert [request.headers["X-Request-ID"] for request in server.received] == ["order-1"] * 2
    assert 0 < float(server.received[0].headers["X-Request-Timeout"]) <= 20
    assert 0 < float(server.received[1].headers["X-Request-Timeout"]) <= 30


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # Not the global provider, which can be set only once per process.
    monkeypatch.setattr("starkeel_client._attempt._TRACER", provider.get_tracer("test"))
    return exporter


def test_each_attempt_is_a_span_whose_context_is_propagated(
    server: Any, reply: Any, caller: Start, spans: InMemorySpanExporter
) -> None:
    server.script(reply(status=503), reply(drop=True), reply())
    provider = TracerProvider()

    async def use(client: Any) -> Any:
        with provider.get_tracer("test").start_as_current_span("POST /api/orders"):
            return await client.get("/api/users/7", route="/api/users/{id}", params={"token": "secret"})

    assert caller().call(use).status_code == 200

    finished = spans.get_finished_spans()
    sent = [request.headers["traceparent"].split("-") for request in server.received]
    assert [(f"{it.context.trace_id:032x}", f"{it.context.span_id:016x}") for it in finished] == [
        (part[1], part[2]) for part in sent
    ]
    assert len({it.context.trace_id for it in finished}) == 1
    assert {(it.name, it.kind) for it in finished} == {("GET /api/users/{id}", SpanKind.CLIENT)}
    failed, dropped, succeeded = [dict(it.attributes or {}) for it in finished]
    common = {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(server.url.rpartition(":")[2]),
        "url.full": f"{server.url}/api/users/7",
        "url.template": "/api/users/{id}",
    }
    assert failed == common | {"http.response.status_code": 503, "error.type": "503"}
    assert dropped == common | {"http.request.resend_count": 1, "error.type": "httpx2.RemoteProtocolError"}
    assert succeeded == common | {"http.request.resend_count": 2, "http.response.status_code": 200}
    assert [it.status.status_code for it in finished] == [
        StatusCode.ERROR,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]


def test_the_span_of_a_call_without_a_route_is_named_by_the_method(
    caller: Start, spans: InMemorySpanExporter
) -> None:
    caller().call(lambda it: it.get("/api/users/7"))

    assert [it.name for it in spans.get_finished_spans()] == ["GET"]


def test_an_oversized_or_corrupt_response_causes_502(server: Any, reply: Any, caller: Start) -> None:
    calling = caller()
    bomb = gzip.compress(b" " * 9_000_000)
    for scripted in (
        reply(body=b" " * 9_000_000),
        reply(headers={"Content-Encoding": "gzip"}, body=bomb),
        reply(headers={"Content-Encoding": "gzip"}, body=b"not compressed"),
    ):
        server.script(scripted)
        response = calling.call()
        assert response.status_code == 502
        assert response.json()["detail"] == "The response of accounts is invalid."
    assert len(server.received) == 3


def test_a_compressed_response_is_decompressed(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"text")))

    response = caller().call().json()

    assert response["body"] == "text"
    assert "content-encoding" not in response["headers"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//evil.example.com",
        "/a/../b",
        "/%2e%2e/b",
        "/a%2f..%2fb",
        "/a?b",
        "/a#b",
        "/a b",
        "/a\\b",
        "/\n",
    ],
)
def test_an_invalid_path_raises(path: str) -> None:
    with pytest.raises(ValueError, match="not a valid path"):
        url_of("http://accounts:3000", path, None)


@given(
    st.text(), st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
)
def test_no_path_changes_the_host_or_leaves_the_base_path(path: str, params: dict[str, str]) -> None:
    try:
        url = url_of("http://accounts:3000/base", f"/{path}", params)
    except ValueError:
        return
    assert (url.scheme, url.host, url.port) == ("http", "accounts", 3000)
    assert url.path.startswith("/base/")


async def test_a_client_of_an_application_that_is_not_started_raises() -> None:
    plugin = ClientPlugin(accounts=UpstreamSettings(url=UpstreamUrl("http://127.0.0.1:1")))

    with pytest.raises(RuntimeError, match="accounts"):
        await plugin.client("accounts").get("/")
    with pytest.raises(KeyError):
        plugin.client("orders")


def test_the_plugin_implements_its_hooks() -> None:
    plugin = ClientPlugin(accounts=UpstreamSettings(url=UpstreamUrl("http://127.0.0.1:1")))

    assert isinstance(plugin, FeaturesHook)
    assert list(plugin.features()) == [("calls to accounts", True, "at http://127.0.0.1:1")]
    assert misspelled_hooks(plugin) == []
