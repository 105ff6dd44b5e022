"""Metrics of several processes in one response."""

import os
import signal
from typing import Any

import httpx2


def test_counters_of_two_workers_are_summed(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)

    pids = _request_all(samples, sample, workers=2)

    sample.wait_for_metric(len(pids), "sold_total", product="anchor")
    sample.wait_for_metric(len(pids), "http_requests_total", path="/pid", status="200")
    assert sample.metric("price_euros_bucket", le="10.0") == len(pids)
    assert sample.metric("alive") == 2
    sample.wait_for_metric(0, "http_requests_in_flight")


def test_counters_of_a_killed_worker_are_kept_and_gauges_dropped(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    pids = _request_all(samples, sample, workers=2)
    sold = sample.metric("sold_total")
    with httpx2.stream("GET", f"{sample.url}/events") as open_stream:
        chunks = open_stream.iter_bytes()
        next(chunks)
        sample.wait_for_metric(1, "http_requests_in_flight")
        for pid in set(pids):
            os.kill(pid, signal.SIGKILL)
        sample.wait_for_log("worker died", count=2)
        sample.wait_for_metric(0, "http_requests_in_flight")

    sample.wait_for_metric(2, "alive")
    assert sample.metric("sold_total") == sold
    more = _request_all(samples, sample, workers=1)
    sample.wait_for_metric(sold + len(more), "sold_total")


def test_main_and_every_worker_report_their_resources(samples: Any) -> None:
    sample = samples.ready(WORKERS=2, SERVICE_REVISION="abc123", SERVICE_VERSION="1.2.3")

    for process in ("main", "worker-0", "worker-1"):
        assert sample.metric("process_resident_memory_bytes", process=process) > 1_000_000
        assert sample.metric("process_open_fds", process=process) > 3
        assert sample.metric("process_cpu_seconds_total", process=process) > 0
        assert sample.metric("process_start_time_seconds", process=process) > 1_600_000_000
        assert sample.metric("python_gc_collections_total", process=process) > 0
    samples.wait_until(lambda: sample.metric("starkeel_event_loop_lag_seconds_count") > 0)
    build = {"service": "sample", "version": "1.2.3", "revision": "abc123"}
    assert sample.metric("starkeel_build_info", **build) == 1


def _request_all(samples: Any, sample: Any, *, workers: int) -> list[int]:
    """Send requests until `workers` workers have responded; return the process id per response."""
    pids: list[int] = []

    def have_responded() -> bool:
        pids.append(httpx2.get(f"{sample.url}/pid").json()["pid"])
        return len(set(pids)) >= workers

    samples.wait_until(have_responded, what=f"{workers} workers")
    return pids
