"""Trace viewer: grouping of spans, and waterfalls."""

import string
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.trace_viewer.spans import SeenSpan, SpanEvent, group_requests
from tools.trace_viewer.waterfall import Waterfall, duration


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
            events=[
                SpanEvent(0, "exception", {"exception.type": draw(text), "exception.message": draw(text)})
            ],
        )
        for number in ids
    ]


@given(spans=seen(), width=st.integers(0, 300))
def test_lines_fit_the_terminal_and_are_printable(spans: list[SeenSpan], width: int) -> None:
    waterfall = Waterfall(width=width, services=["orders", "accounts"])

    for request in group_requests(spans):
        for line in waterfall.draw(request):
            assert len(line) <= min(120, max(60, width))
            assert line.isprintable()


@given(spans=seen())
def test_every_span_is_shown_once_below_its_parent(spans: list[SeenSpan]) -> None:
    found = group_requests(spans)

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


def test_durations_have_three_significant_digits() -> None:
    formatted = [duration(ns) for ns in (0, 84_000, 1_500_000, 15_000_000, 150_000_000, 1_500_000_000, -5)]

    assert formatted == ["0.00 ms", "0.08 ms", "1.50 ms", "15.0 ms", "150 ms", "1.50 s", "0.00 ms"]
    assert set(formatted[3]) <= set(string.digits + ". ms")
