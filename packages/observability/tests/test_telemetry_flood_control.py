"""Flood control: repeated lines are limited, reported and counted; access log lines are exempt."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from starkeel_observability._logs import flood_control
from starkeel_observability._logs.flood_control import FloodControl, MessageKey
from websockets.sync.client import connect


def suppressed(sample: Any) -> Counter[str]:
    """Return the number of suppressed lines by message, from the reports."""
    counts: Counter[str] = Counter()
    for line in sample.found("log lines left out"):
        for kind in line["most"]:
            counts[kind["message"]] += kind["count"]
    return counts


def test_a_flood_is_limited_reported_and_counted(samples: Any) -> None:
    sample = samples.ready(WORKERS=2, LOG_REPEATS_PER_SECOND=10)
    sent = 20_000

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sample.get(f"/noise?count={sent // 8}&size=10"), range(8)))
        list(pool.map(lambda _: sample.get(f"/storm?count={sent // 8}"), range(8)))

    def written(message: str) -> int:
        return sum(message in line["message"] for line in sample.logs)

    def is_complete() -> bool:
        out = suppressed(sample)
        return (written("noise") + out["noise"], written("attempt") + out["attempt %d failed"]) == (
            sent,
            sent,
        )

    samples.wait_until(is_complete, what="the reports of suppressed lines")
    assert sample.metric("log_records_sampled_out_total", level="INFO") == suppressed(sample)["noise"]
    assert (
        sample.metric("log_records_sampled_out_total", level="ERROR")
        == suppressed(sample)["attempt %d failed"]
    )
    assert written("noise") < written("attempt") < sent / 2
    # Samples above the limit are spread over time.
    assert len({line["number"] for line in sample.found("noise")}) > 10


def test_every_request_has_its_line_in_a_flood(samples: Any) -> None:
    sample = samples.ready(LOG_REPEATS_PER_SECOND=1)
    with httpx2.Client(base_url=sample.url) as client:
        for number in range(200):
            client.get("/fails" if number % 2 else "/pid")

    sample.wait_for_log("request completed", count=100, route="/pid", level="INFO")
    sample.wait_for_log("request completed", count=100, route="/fails", level="ERROR")
    sample.wait_for_log("log lines left out")


def test_suppressed_lines_are_reported_at_shutdown(samples: Any) -> None:
    sample = samples.ready(LOG_REPEATS_PER_SECOND=1)
    sample.get("/noise?count=50&size=1")

    assert sample.stop() == 0

    assert len(sample.found("noise")) + suppressed(sample)["noise"] == 50


def test_flood_control_can_be_disabled(samples: Any) -> None:
    sample = samples.ready(LOG_REPEATS_PER_SECOND=0)
    sample.get("/noise?count=3000&size=1")

    sample.wait_for_log("noise", count=3000)
    assert not sample.found("log lines left out")


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that stands still."""
    now = [1000.0]
    monkeypatch.setattr(flood_control.time, "monotonic", lambda: now[0])
    return now


def test_each_message_has_its_limit_per_second(moment: list[float]) -> None:
    out: Counter[MessageKey] = Counter()
    repeats = FloodControl(2, out.update)

    def admitted(*line: Any) -> int:
        return sum(repeats.admits(*line) for _ in range(103))

    assert admitted("a", 20, "x") == 3
    assert admitted("b", 20, "x") == 3
    assert admitted("a", 30, "x") == 3
    assert admitted("a", 40, "x") == 10
    moment[0] += 1
    assert admitted("a", 20, "x") == 3
    repeats.flush()
    assert out == {
        MessageKey("a", "INFO", "x"): 200,
        MessageKey("b", "INFO", "x"): 100,
        MessageKey("a", "WARN", "x"): 100,
        MessageKey("a", "ERROR", "x"): 93,
    }


def test_distinct_messages_share_a_limit(moment: list[float]) -> None:
    out: Counter[MessageKey] = Counter()
    repeats = FloodControl(100, out.update)

    admitted = sum(repeats.admits("a", 20, f"order {number} created") for number in range(50_000))
    repeats.flush()

    assert admitted + out.total() == 50_000
    assert admitted < 2000
    assert max(len(repeats._counts), len(out)) < 1100


def test_slow_requests_are_warnings_except_streams(samples: Any) -> None:
    sample = samples.ready(LOG_SLOW_REQUEST_SECONDS="0.001")

    sample.get("/slow?seconds=0.01")
    with httpx2.stream("GET", f"{sample.url}/events") as stream:
        next(stream.iter_bytes())
    with connect(sample.url.replace("http", "ws") + "/live") as socket:
        socket.send("x")
        socket.recv()

    slow = sample.wait_for_log("request completed", route="/slow")
    assert (slow["level"], slow["status"]) == ("WARN", 200)
    assert slow["duration_ms"] >= 10
    assert sample.wait_for_log("request completed", route="/events")["level"] == "INFO"
    assert sample.wait_for_log("request completed", route="/live")["level"] == "INFO"
    sample.get("/fails")
    assert sample.wait_for_log("request completed", route="/fails")["level"] == "ERROR"


def test_fast_requests_are_not_warnings(samples: Any) -> None:
    sample = samples.ready(LOG_SLOW_REQUEST_SECONDS="3600")

    sample.get("/slow?seconds=0.01")

    assert sample.wait_for_log("request completed", route="/slow")["level"] == "INFO"
    assert json.dumps(sample.logs).count('"WARN"') == 0


def test_an_unexpected_error_is_logged_once_with_frames(samples: Any) -> None:
    sample = samples.ready()

    sample.get("/fails", **{"X-Request-ID": "r-1"})

    sample.wait_for_log("request completed", route="/fails")
    lines = [line for line in sample.logs if line.get("request_id") == "r-1"]
    assert [line["message"] for line in lines] == ["request failed", "request completed"]
    assert {line["level"] for line in lines} == {"ERROR"}
    exception = lines[0]["exception"]
    assert exception["type"] == "ValueError"
    assert exception["frames"][-1]["function"] == "fails"
    assert exception["frames"][-1]["file"] == "sample/app.py"
    assert exception["frames"][-1]["line"] > 0
    assert "exception" not in lines[1]
