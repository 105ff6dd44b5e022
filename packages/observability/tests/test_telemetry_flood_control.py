"""Flood control: repeated warnings and errors are limited, reported and counted; other lines are exempt."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from starkeel_observability._logs import sink
from starkeel_observability._logs.sink import FloodControl, MessageKey
from websockets.sync.client import connect


def suppressed(sample: Any) -> Counter[str]:
    """Return the number of suppressed lines by level, from the reports."""
    counts: Counter[str] = Counter()
    for line in sample.found("log lines left out"):
        assert line["count"] == sum(line["levels"].values()) == sum(key["count"] for key in line["most"])
        counts.update(line["levels"])
    return counts


def test_a_flood_is_limited_reported_and_counted(samples: Any) -> None:
    sample = samples.ready(WORKERS=2, LOG_REPEATS_PER_SECOND=10)
    sent = 20_000
    levels = {"WARN": 30, "ERROR": 40}

    with ThreadPoolExecutor(4) as pool:
        for level in levels.values():
            list(pool.map(lambda n: sample.get(f"/storm?count={sent // 8}&level={n}"), [level] * 8))

    def written(level: str) -> int:
        return sum(line["message"].startswith("attempt") for line in sample.logs if line["level"] == level)

    def is_complete() -> bool:
        return all(written(level) + suppressed(sample)[level] == sent for level in levels)

    samples.wait_until(is_complete, what="the reports of suppressed lines")
    for level in levels:
        assert sample.metric("log_records_sampled_out_total", level=level) == suppressed(sample)[level]
    assert written("WARN") < written("ERROR") < sent / 2
    # Samples above the limit are spread over time.
    assert len({line["message"] for line in sample.logs if line["level"] == "WARN"}) > 10


def test_info_and_debug_lines_are_never_suppressed(samples: Any) -> None:
    sample = samples.ready(LOG_REPEATS_PER_SECOND=1, LOG_LEVEL="info,sample=debug")

    sample.get("/noise?count=2000&size=1")
    sample.get("/storm?count=2000&level=10")

    assert sample.stop() == 0
    assert len(sample.found("noise", level="INFO")) == 2000
    assert (
        sum(line["level"] == "DEBUG" and line["message"].startswith("attempt") for line in sample.logs)
        == 2000
    )
    assert not sample.found("log lines left out")


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
    sample.get("/storm?count=50&level=30")

    assert sample.stop() == 0

    written = sum(line["message"].startswith("attempt") for line in sample.logs)
    assert 0 < suppressed(sample)["WARN"] == 50 - written


def test_flood_control_can_be_disabled(samples: Any) -> None:
    sample = samples.ready(LOG_REPEATS_PER_SECOND=0)
    sample.get("/storm?count=3000&level=40")

    sample.wait_for_log("attempt 2999 failed")
    assert sum(line["message"].startswith("attempt") for line in sample.logs) == 3000
    assert not sample.found("log lines left out")


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stopped clock."""
    now = [1000.0]
    monkeypatch.setattr(sink.time, "monotonic", lambda: now[0])
    return now


def test_each_message_has_its_limit_per_second(moment: list[float]) -> None:
    out: Counter[MessageKey] = Counter()
    repeats = FloodControl(2, out.update)

    def admitted(*line: Any) -> int:
        return sum(repeats.admits(*line) for _ in range(103))

    assert admitted("a", 30, "x") == 3
    assert admitted("b", 30, "x") == 3
    assert admitted("a", 40, "x") == 10
    assert admitted("a", 20, "x") == admitted("a", 10, "x") == 103
    moment[0] += 1
    assert admitted("a", 30, "x") == 3
    repeats.flush()
    assert out == {
        MessageKey("a", "WARN", "x"): 200,
        MessageKey("b", "WARN", "x"): 100,
        MessageKey("a", "ERROR", "x"): 93,
    }


def test_distinct_messages_share_a_limit(moment: list[float]) -> None:
    out: Counter[MessageKey] = Counter()
    repeats = FloodControl(100, out.update)

    admitted = sum(repeats.admits("a", 30, f"order {number} delayed") for number in range(50_000))
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
