"""Traces that a service in development remembers, and how they are drawn."""

import string
from typing import Any

import httpx2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode
from starkeel_observability._traces._recent import RecentTraces
from starkeel_observability._traces._recorded import Origin, RecordedSpan, Scope
from starkeel_observability._view._spans import Event, SeenSpan, requests
from starkeel_observability._view._waterfall import Waterfall, duration

SCOPE = Scope("test", "", "", None)


def ended(
    number: int, *, parent: int = 0, took_ns: int = 1, trace: int = 0, fails: bool = False
) -> RecordedSpan:
    span = RecordedSpan(
        Origin(SCOPE, lambda _: None),
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
    return [span["name"] for span in recent.told({})["spans"]]


def test_a_request_is_kept_with_what_it_caused() -> None:
    passed_on: list[RecordedSpan] = []
    recent = RecentTraces("orders", passed_on.append)

    for span in (ended(2, parent=1, trace=1), ended(1, trace=1), ended(3, parent=1, trace=1)):
        recent.take(span)

    # The last one ended after its request.
    assert names(recent) == ["span 1", "span 2", "span 3"]
    assert [span.name for span in passed_on] == ["span 2", "span 1", "span 3"]
    assert {span["service"] for span in recent.told({})["spans"]} == {"orders"}


def test_a_storm_does_not_wash_away_what_is_slow_or_failed() -> None:
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


def test_only_development_remembers(samples: Any) -> None:
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


@st.composite
def seen(draw: st.DrawFn) -> list[SeenSpan]:
    ids = draw(st.lists(st.integers(1, 60), min_size=1, unique=True))
    text = st.text(max_size=200)
    return [
        SeenSpan(
            trace_id="t" * 32,
            span_id=str(number),
            parent_id=str(draw(st.sampled_from([*ids, 99]))),
            service=draw(st.sampled_from(["orders", "accounts", "a-service-with-a-long-name"])),
            name=draw(text),
            kind="server",
            start_ns=draw(st.integers(0, 10**15)),
            end_ns=draw(st.integers(0, 10**15)),
            status=draw(st.sampled_from(["unset", "error", "ok"])),
            attributes={"url.path": draw(text), "http.response.status_code": draw(st.integers())},
            events=[Event(0, "exception", {"exception.type": draw(text), "exception.message": draw(text)})],
        )
        for number in ids
    ]


@given(spans=seen(), width=st.integers(0, 300))
def test_whatever_was_traced_fits_the_terminal_and_obeys_nobody(spans: list[SeenSpan], width: int) -> None:
    waterfall = Waterfall(width=width, services=["orders", "accounts"])

    for request in requests(spans):
        for line in waterfall.drawn(request):
            assert len(line) <= min(120, max(60, width))
            assert line.isprintable()


@given(spans=seen())
def test_every_span_has_its_place_once_below_its_parent(spans: list[SeenSpan]) -> None:
    found = requests(spans)

    rows = [row.span.span_id for request in found for row in request.rows]
    assert len(rows) == len(set(rows))
    parents = {span.span_id: span.parent_id for span in spans}
    assert {request.root.span_id for request in found} == {s for s, p in parents.items() if p not in parents}
    for request in found:
        above: list[str] = []
        for row in request.rows:
            del above[row.depth :]
            assert not above or row.span.parent_id == above[-1]
            above.append(row.span.span_id)


def test_durations_have_three_digits() -> None:
    told = [duration(ns) for ns in (0, 84_000, 1_500_000, 15_000_000, 150_000_000, 1_500_000_000, -5)]

    assert told == ["0.00 ms", "0.08 ms", "1.50 ms", "15.0 ms", "150 ms", "1.50 s", "0.00 ms"]
    assert set(told[3]) <= set(string.digits + ". ms")
