"""With some telemetry turned off the rest is unchanged, and no work is left for what is off."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest
from litestar import Litestar, get
from opentelemetry import trace
from prometheus_client import REGISTRY
from starkeel_config import load
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings
from starkeel_observability._layer import batch
from starkeel_observability._logs import access_line
from starkeel_observability._traces import tracer
from starkeel_observability._traces.provider import Provider
from starkeel_observability._traces.span import RecordedSpan, discard_encoded
from starkeel_observability._traces.tracer import sampler

left_behind: list[Context] = []
tasks: list[weakref.ref[asyncio.Task[Any]]] = []


@get("/quick")
async def quick() -> None: ...


@get("/span")
async def in_span() -> None:
    trace.get_current_span().set_attribute("customer", "blue")
    left_behind.append(copy_context())
    task = asyncio.current_task()
    assert task is not None
    tasks.append(weakref.ref(task))


read: list[Any] = []


@get("/read")
async def reads() -> None:
    read.append(trace.get_current_span())


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RecordedSpan]]:
    ended: list[RecordedSpan] = []
    provider = Provider(sampler("parentbased_always_on", 1.0), ended.append, discard_encoded)
    monkeypatch.setattr(tracer, "_tracers", [provider.get_tracer("test")])
    yield ended
    left_behind.clear()
    tasks.clear()
    read.clear()


async def serve(plugin: ObservabilityPlugin, *paths: str) -> None:
    """Serve requests in one batch, which is left to be reported."""
    app = Litestar([quick, in_span, reads], plugins=[plugin], openapi_config=None)
    async with app.lifespan():
        assert plugin._layer is not None
        plugin._layer.start(is_batching=True)
        for path in paths:
            await asyncio.create_task(app(scope(path), _receive, _send))


def scope(path: str) -> Any:
    facts = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    return {
        **facts,
        "headers": [(b"host", b"test")],
        "http_version": "1.1",
        "scheme": "http",
        "client": ("192.0.2.1", 1),
    }


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_: Any) -> None: ...


def plugin() -> ObservabilityPlugin:
    return ObservabilityPlugin(load(ObservabilitySettings, {}, service="orders"))


def counted(path: str) -> float:
    labels = {"method": "GET", "path": path, "status": "200"}
    return REGISTRY.get_sample_value("http_requests_total", labels) or 0.0


async def test_without_an_exporter_no_span_is_encoded(
    spans: list[RecordedSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Any] = []
    monkeypatch.setattr(batch, "encode_records", lambda records, _: encoded.extend(records) or [])
    before = counted("/quick")

    await serve(plugin(), "/quick", "/span")

    assert encoded == []
    assert counted("/quick") == before + 1
    # A span that the application has changed is still passed on.
    assert [span.attributes["customer"] for span in spans] == ["blue"]


async def test_at_a_level_above_no_access_line_is_prepared(
    spans: list[RecordedSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_line, "line_path", lambda: "none")
    prepared: list[Any] = []
    monkeypatch.setattr(access_line, "write", lambda *given: prepared.append(given))
    monkeypatch.setattr(access_line, "log_request", lambda *given: prepared.append(given))
    before = counted("/quick")

    await serve(plugin(), "/quick", "/span", "/nowhere")

    assert prepared == []
    assert counted("/quick") == before + 1


async def test_without_a_provider_a_request_has_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "request_tracer", lambda: trace.get_tracer("test"))
    seen: list[bytes] = []
    own = plugin()
    monkeypatch.setattr(batch.RequestBatcher, "flush", lambda self: seen.extend(r[6] for r in self.records))

    await serve(own, "/quick")

    assert seen
    assert set(seen) == {b""}


async def test_a_span_that_was_only_read_is_reported_with_the_batch(
    spans: list[RecordedSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[bytes] = []
    monkeypatch.setattr(
        batch.RequestBatcher, "flush", lambda self: waiting.extend(r[6] for r in self.records if r[8] is None)
    )

    await serve(plugin(), "/read")

    (span,) = read
    assert waiting == [span.ids]
    span.set_attribute("customer", "late")
    assert not span.is_recording()
    assert "customer" not in span.attributes
    assert spans == []


async def test_a_request_is_released_before_it_is_reported(spans: list[RecordedSpan]) -> None:
    own = plugin()
    app = Litestar([in_span], plugins=[own], openapi_config=None)
    async with app.lifespan():
        assert own._layer is not None
        own._layer.start(is_batching=True)
        # Not awaited itself: what resumes a waiter would still refer to the task.
        finished = asyncio.Event()
        asyncio.create_task(app(scope("/span"), _receive, _send)).add_done_callback(lambda _: finished.set())
        await finished.wait()
        gc.collect()

        # Neither the waiting record nor a context that the application has kept refers to the request.
        assert spans == []
        assert tasks[0]() is None
        assert left_behind

    assert [span.name for span in spans] == ["GET /span"]
