"""Creation of a request's span on demand, and the request id on responses without headers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from starkeel_asgi import ExchangeConfig, HttpExchange
from starkeel_observability._compat import SPAN_KEY
from starkeel_observability._request.request import parent_of, request_ids
from starkeel_observability._traces import tracer
from starkeel_observability._traces.provider import Provider
from starkeel_observability._traces.server_span import ServerSpan
from starkeel_observability._traces.span import RecordedSpan
from starkeel_observability._traces.tracer import NO_PARENT, RequestContext, sampler


def make_exchange(scope: Any) -> HttpExchange:
    """Return the exchange of a request that no server serves."""

    async def make() -> HttpExchange:
        exchange = HttpExchange(scope, _unused, _unused, ExchangeConfig())
        exchange.ids, exchange.id, exchange.id_bytes = request_ids()
        return exchange

    return asyncio.run(make())


async def _unused(*_: Any) -> Any: ...


@pytest.fixture
def request_() -> HttpExchange:
    scope: Any = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    return make_exchange(scope)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[RecordedSpan]:
    spans: list[RecordedSpan] = []
    own = Provider(sampler("parentbased_always_on", 1.0), spans.append).get_tracer("test")
    monkeypatch.setattr(tracer, "_tracers", [own])
    return spans


def context_of(request: HttpExchange) -> Context:
    made = RequestContext()
    made.request = request
    return made


def test_a_span_is_created_once_on_first_access(request_: HttpExchange, ended: list[RecordedSpan]) -> None:
    around = context_of(request_)
    assert not dict.__contains__(around, SPAN_KEY)

    span = trace.get_current_span(around)

    assert isinstance(span, ServerSpan)
    assert span.ids == request_.ids
    assert trace.get_current_span(around) is span is around[SPAN_KEY]
    assert ended == []


def test_a_derived_context_has_the_span(request_: HttpExchange, ended: list[RecordedSpan]) -> None:
    around = context_of(request_)

    further = baggage.set_baggage("tenant", "a", context=around)
    token = otel_context.attach(further)
    try:
        child = tracer._tracers[0].start_span("child")
    finally:
        otel_context.detach(token)

    assert isinstance(child, RecordedSpan)
    assert child.ids[:16] == request_.ids[:16]
    assert child.parent == request_.ids[16:]
    assert trace.get_current_span(further) is trace.get_current_span(around)
    assert ended == []


def test_concurrent_threads_get_the_same_span(request_: HttpExchange, ended: list[RecordedSpan]) -> None:
    around = context_of(request_)
    at_once = Barrier(8)

    def get_span(_: int) -> Any:
        at_once.wait()
        return trace.get_current_span(around)

    with ThreadPoolExecutor(8) as pool:
        found = set(map(id, pool.map(get_span, range(8))))

    assert len(found) == 1
    assert ended == []


def test_the_span_does_not_record_after_the_request(
    request_: HttpExchange, ended: list[RecordedSpan]
) -> None:
    around = context_of(request_)
    around.request = request_.ids

    span = trace.get_current_span(around)

    assert not span.is_recording()
    span_context = span.get_span_context()
    assert span_context.trace_id.to_bytes(16, "big") + span_context.span_id.to_bytes(8, "big") == request_.ids
    assert span_context.trace_flags.sampled
    assert ended == []


def test_a_missing_key_raises(request_: HttpExchange) -> None:
    around = context_of(request_)

    assert around.get("other") is None
    with pytest.raises(KeyError, match="other"):
        around["other"]
    assert NO_PARENT == {}


async def test_a_response_without_headers_has_the_id() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    exchange = HttpExchange(scope, _unused, send, ExchangeConfig())
    exchange.id_bytes = b"made-up"

    await exchange.send({"type": "http.response.start", "status": 204})

    assert sent == [
        {"type": "http.response.start", "status": 204, "headers": [(b"x-request-id", b"made-up")]}
    ]


TRACEPARENTS = st.from_regex(
    rb"(0[01]|ff)-(0{32}|[0-9a-f]{32})-(0{16}|[0-9a-f]{16})-[0-9a-f]{2}(-x)?", fullmatch=True
)


@given(TRACEPARENTS | st.binary())
@settings(deadline=None)
def test_a_traceparent_is_read_as_by_the_propagator(header: bytes) -> None:
    scope: Any = {"type": "http", "method": "GET", "path": "/x", "headers": [(b"traceparent", header)]}
    exchange = make_exchange(scope)

    fast, slow = (
        trace.get_current_span(parent_of(exchange, is_traceparent=is_alone)).get_span_context()
        for is_alone in (True, False)
    )

    assert fast == slow
    assert fast.is_remote == slow.is_remote
