"""Restarted workers, metrics and readiness on the admin port."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families


def worker_pids(sample: Any) -> dict[int, int]:
    """Return the latest process id of each worker by index."""
    lines = [
        line for line in sample.logs if line["message"] == "process started" and line["role"] == "worker"
    ]
    return {line["index"]: line["process"] for line in lines}


def metric(sample: Any, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(httpx2.get(f"{sample.admin}/metrics").text)
    found = [
        s.value for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items()
    ]
    return float(sum(found))


def test_metrics_of_all_workers_are_merged(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    answered: set[int] = set()
    hits = 0

    # Until both workers have responded: the kernel chooses the worker that accepts.
    def both() -> bool:
        nonlocal hits
        answered.add(httpx2.get(f"{sample.url}/pid").json()["pid"])
        hits += 1
        return len(answered) == 2

    samples.wait_until(both)

    assert metric(sample, "sample_hits_total") == hits
    assert metric(sample, "sample_alive") == 2


def test_a_killed_worker_is_restarted_and_its_metrics_continue(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    for _ in range(10):
        httpx2.get(f"{sample.url}/pid")
    before = metric(sample, "sample_hits_total")
    killed = worker_pids(sample)[0]

    os.kill(killed, signal.SIGKILL)

    died = sample.wait_for_log("worker died", level="error")
    assert (died["index"], died["worker_pid"], died["exit_code"]) == (0, killed, -9)
    sample.wait_for_log("process started", role="worker", index=0, count=2)
    samples.wait_until(lambda: httpx2.get(f"{sample.admin}/ready").status_code == 200)
    assert worker_pids(sample)[0] != killed
    assert metric(sample, "sample_hits_total") == before
    assert metric(sample, "sample_alive") == 2
    assert metric(sample, "starkeel_worker_exits_total", reason="signal") == 1
    assert sample.stop() == 0


def test_connections_are_queued_while_the_only_worker_is_restarted(samples: Any) -> None:
    sample = samples.ready()
    os.kill(worker_pids(sample)[0], signal.SIGKILL)
    sample.wait_for_log("worker died")

    # The main process keeps the port open while no worker accepts.
    assert httpx2.get(f"{sample.url}/pid", timeout=20).status_code == 200


def test_a_crash_loop_ends_the_service_with_the_reason(samples: Any) -> None:
    sample = samples.start(SAMPLE_FAILS="lifespan")

    # Five starts in sequence.
    assert sample.wait(timeout_s=90) == 1
    assert sample.messages.count("worker died") == 5
    assert "the lifespan is broken" in sample.wait_for_log("worker failed", level="error")["exception"]
    assert sample.wait_for_log("gave up: workers die before they are up")["deaths"] == 5
    assert sample.messages[-2:] == ["shutdown complete", "process stopped"]
    assert list(samples.tmp.iterdir()) == []


def test_a_crash_loop_of_one_worker_ends_the_service_whatever_the_others_do(samples: Any) -> None:
    sample = samples.start(SAMPLE_FAILS="lifespan of 1", WORKERS=3)
    sample.wait_for_log("worker died", index=1)
    # Ends of other workers, which were up, neither count nor restart the count.
    os.kill(worker_pids(sample)[0], signal.SIGKILL)
    sample.wait_for_log("worker died", index=0)

    assert sample.wait(timeout_s=90) == 1

    assert [line["index"] for line in sample.logs if line["message"] == "worker died"].count(1) == 5
    gave_up = sample.wait_for_log("gave up: workers die before they are up")
    assert (gave_up["index"], gave_up["deaths"]) == (1, 5)
    delays = [line["delay_s"] for line in sample.logs if line["message"] == "worker restart delayed"]
    assert delays == [0.1, 0.2, 0.4, 0.8]
    assert list(samples.tmp.iterdir()) == []


def test_a_worker_that_dies_soon_after_it_was_up_is_restarted_with_backoff(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    delays = []

    def kill(count: int) -> None:
        os.kill(worker_pids(sample)[0], signal.SIGKILL)
        sample.wait_for_log("worker died", count=count)

    kill(1)
    for count in range(2, 7):
        sample.wait_for_log("process started", role="worker", index=0, count=count)
        samples.wait_until(lambda: statuses(sample)[0] in {"ready", "not ready"})
        kill(count)
        delayed = sample.wait_for_log("worker restart delayed", level="warning", count=count - 1)
        assert (delayed["index"], delayed["deaths"]) == (0, count)
        delays.append(delayed["delay_s"])

    # The first one is restarted immediately.
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2]
    # The other worker serves: ready on both ports, and the metric has the reason.
    assert statuses(sample) == ["backing off", "ready"]
    assert metric(sample, "starkeel_workers", status="backing_off") == 1
    assert metric(sample, "starkeel_workers", status="ready") == 1
    assert httpx2.get(f"{sample.admin}/ready").status_code == 200
    assert httpx2.get(f"{sample.url}/health/ready").status_code == 200
    samples.wait_until(lambda: statuses(sample) == ["ready", "ready"])
    assert sample.stop() == 0


def test_the_only_worker_in_backoff_makes_the_service_not_ready(samples: Any) -> None:
    sample = samples.ready()
    for count in range(1, 6):
        os.kill(worker_pids(sample)[0], signal.SIGKILL)
        sample.wait_for_log("worker died", count=count)
        if count < 5:
            sample.wait_for_log("process started", role="worker", index=0, count=count + 1)
            samples.wait_until(lambda: statuses(sample)[0] in {"ready", "not ready"})

    assert statuses(sample) == ["backing off"]
    assert httpx2.get(f"{sample.admin}/ready").status_code == 503
    # A stop does not wait for the restart.
    assert sample.stop() == 0
    assert sample.messages.count("process started") == 6


def statuses(sample: Any) -> list[str]:
    """Return the status of each worker on the admin port."""
    return [worker["status"] for worker in httpx2.get(f"{sample.admin}/ready").json()["workers"]]


def test_a_blocked_worker_is_reported_by_the_admin_port(samples: Any) -> None:
    sample = samples.ready()
    with httpx2.Client() as client, client.stream("GET", f"{sample.url}/health/live"):
        pass
    stuck = httpx2.Client(timeout=0.5)
    try:
        stuck.get(f"{sample.url}/stuck")
    except httpx2.TimeoutException:
        sample.wait_for_log("stuck began")

    answer = samples.wait_until(lambda: (a := httpx2.get(f"{sample.admin}/ready")).status_code == 503 and a)

    assert answer.json()["workers"] == [{"index": 0, "status": "unresponsive"}]
    assert httpx2.get(f"{sample.admin}/live").status_code == 200
    stuck.close()


def test_readiness_follows_the_checks_and_hides_reasons(samples: Any) -> None:
    flag = samples.directory / "database-is-away"
    sample = samples.ready(SAMPLE_FLAG=flag)
    ready = httpx2.get(f"{sample.url}/health/ready").json()
    assert ready["status"] == "ready"
    assert ready["checks"]["database"].keys() == {"status", "duration_ms", "critical"}

    flag.touch()
    samples.wait_until(lambda: httpx2.get(f"{sample.url}/health/ready").status_code == 503)
    answer = httpx2.get(f"{sample.url}/health/ready")
    samples.wait_until(lambda: httpx2.get(f"{sample.admin}/ready").status_code == 503)
    assert answer.json()["status"] == "not ready"
    assert answer.json()["checks"]["database"]["status"] == "failed"
    assert "hunter2" not in answer.text
    assert httpx2.get(f"{sample.url}/health/live").status_code == 200
    assert httpx2.get(f"{sample.url}/health/started").status_code == 200

    flag.unlink()
    samples.wait_until(lambda: httpx2.get(f"{sample.url}/health/ready").status_code == 200)
    # Logged once per change.
    sample.wait_for_log("readiness check passed again")
    assert sample.messages.count("readiness check failed") == 1


def test_the_admin_port_accepts_get_and_head_only(samples: Any) -> None:
    sample = samples.ready()

    assert httpx2.get(f"{sample.admin}/nowhere").status_code == 404
    refused = httpx2.post(f"{sample.admin}/metrics")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    head = httpx2.head(f"{sample.admin}/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_openmetrics_is_negotiated(samples: Any) -> None:
    sample = samples.ready()

    response = httpx2.get(
        f"{sample.admin}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )

    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
    assert httpx2.get(f"{sample.admin}/metrics").headers["content-type"].startswith("text/plain")


def test_idle_connections_do_not_block_the_admin_port(samples: Any) -> None:
    import socket

    sample = samples.ready()
    address = ("127.0.0.1", int(sample.admin.rpartition(":")[2]))
    silent = [socket.create_connection(address, timeout=5) for _ in range(200)]

    assert httpx2.get(f"{sample.admin}/live").status_code == 200

    for connection in silent:
        connection.close()


def test_shared_memory_is_private(samples: Any) -> None:
    samples.ready()

    (directory,) = samples.tmp.iterdir()

    assert directory.stat().st_mode & 0o777 == 0o700
    assert Path(directory / "scoreboard").exists()


def test_a_blocked_event_loop_is_logged_once_per_stall(samples: Any) -> None:
    sample = samples.ready(LOOP_STALL_SECONDS=0.3)

    for count in (1, 2):
        httpx2.get(f"{sample.url}/busy/1.0", timeout=20)
        line = sample.wait_for_log("event loop blocked", level="error", count=count)
        sample.wait_for_log("event loop resumed", count=count)
        assert line["blocked_s"] >= 0.3
        assert "in busy" in line["stack"]
        assert "time.sleep(seconds)" in line["stack"]

    assert sample.messages.count("event loop blocked") == 2
    assert metric(sample, "starkeel_loop_stalls_total") == 2
    assert sample.stop() == 0


def test_an_event_loop_blocked_during_the_drain_is_logged(samples: Any) -> None:
    sample = samples.ready(LOOP_STALL_SECONDS=0.3, SHUTDOWN_GRACE_SECONDS=2)
    stuck = httpx2.Client(timeout=0.2)
    try:
        stuck.get(f"{sample.url}/stuck")
    except httpx2.TimeoutException:
        sample.wait_for_log("stuck began")

    assert sample.stop() == 70

    assert "in stuck" in sample.wait_for_log("event loop blocked")["stack"]
    stuck.close()
