"""Recent traces that a service in development keeps."""

from typing import Any

import httpx2
from opentelemetry.trace import SpanKind, StatusCode
from starkeel_observability._traces.recent import RecentTraces
from starkeel_observability._traces.span import InstrumentationScope, RecordedSpan, SpanOutput

SCOPE = InstrumentationScope("test", "", "", None)


def ended(
    number: int, *, parent: int = 0, took_ns: int = 1, trace: int = 0, fails: bool = False
) -> RecordedSpan:
    span = RecordedSpan(
        SpanOutput(SCOPE, lambda _: None),
        f"span {number}",
        SpanKind.SERVER,
        ids=(trace or number).to_bytes(16, "big") + number.to_bytes(8, "big"),
        attributes={},
        start_ns=1000,
    )
    span.parent = parent.to_bytes(8, "big") if parent else b""
    if fails:
        span.set_status(StatusCode.ERROR)
    span.end(1000 + took_ns)
    return span


def names(recent: RecentTraces) -> list[str]:
    return [span["name"] for span in recent.dump({})["spans"]]


def test_a_request_is_kept_with_its_child_spans() -> None:
    forwarded: list[RecordedSpan] = []
    recent = RecentTraces("orders", forwarded.append)

    for span in (ended(2, parent=1, trace=1), ended(1, trace=1), ended(3, parent=1, trace=1)):
        recent.take(span)

    # Span 3 ended after its request.
    assert names(recent) == ["span 1", "span 2", "span 3"]
    assert [span.name for span in forwarded] == ["span 2", "span 1", "span 3"]
    assert {span["service"] for span in recent.dump({})["spans"]} == {"orders"}


def test_slow_and_failed_requests_survive_a_flood() -> None:
    recent = RecentTraces("orders", lambda _: None)

    recent.take(ended(1, took_ns=10**9))
    recent.take(ended(2, took_ns=1, fails=True))
    for number in range(3, 20_000):
        recent.take(ended(number, took_ns=2))

    assert {"span 1", "span 2"} <= set(names(recent))


def test_memory_is_bounded() -> None:
    recent = RecentTraces("orders", lambda _: None)

    for number in range(1, 5000):
        recent.take(ended(number + 10**6, parent=1, trace=number))
    for number in range(1, 5000):
        recent.take(ended(number + 10**7, parent=1, trace=10**8))

    assert len(recent._open) <= 1000
    assert sum(map(len, recent._open.values())) <= 1000 + 200


def test_traces_are_kept_in_development_only(samples: Any) -> None:
    production = samples.ready()
    assert httpx2.get(f"{production.admin}/traces", timeout=30).status_code == 404
    production.stop()

    development = samples.ready(ENVIRONMENT="development")
    development.get("/items/1", traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    development.get("/fails")
    (worker,) = httpx2.get(f"{development.admin}/traces", timeout=30).json()["workers"]
    spans = {span["name"]: span for span in worker["spans"]}
    assert spans["GET /items/{item_id}"]["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert spans["GET /items/{item_id}"]["parent_id"] == "00f067aa0ba902b7"
    assert spans["GET /fails"]["status"] == "error"
    assert "bob@example.com" not in str(worker)
    headers = {"X-Forwarded-For": "127.0.0.1"}
    assert httpx2.get(f"{development.admin}/traces", headers=headers, timeout=30).status_code == 403
