"""Workers replaced under load: by SIGHUP, and after SIGKILL."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ...support.report import report
from .sample_service import REQUESTS, sampling, start_load

pytestmark = pytest.mark.alone


def worker_pids(sample: Any) -> list[int]:
    return [
        line["process"]
        for line in sample.logs
        if line["message"] == "process started" and line["role"] == "worker"
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_replaces_every_worker_and_fails_no_request(tmp_path: Path, capsys: Any, workers: int) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKERS=workers, DRAIN_DELAY_SECONDS=1)
        before = worker_pids(sample)
        load = start_load(sample.url)
        load.wait_for_responses(REQUESTS // 2)

        sample.signal(signal.SIGHUP)

        sample.wait_for_log("workers replaced")
        load.wait_for_responses(REQUESTS // 2)
        load.finish()
        report(capsys, f"SIGHUP with {workers} workers", load.summary)
        assert load.failures == []
        after = worker_pids(sample)[workers:]
        assert len(after) == workers
        assert not any(Path(f"/proc/{pid}").exists() for pid in before)
        assert sample.stop() == 0


def test_ten_sighups_in_a_row_fail_no_request(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(DRAIN_DELAY_SECONDS=1)
        load = start_load(sample.url)
        for number in range(1, 11):
            load.wait_for_responses(REQUESTS // 10)
            sample.signal(signal.SIGHUP)
            sample.wait_for_log("workers replaced", count=number)
        load.finish()

        report(capsys, "ten SIGHUPs", load.summary)
        assert load.failures == []
        assert len(worker_pids(sample)) == 11
        assert sample.stop() == 0


def test_a_killed_worker_fails_only_its_requests_in_flight(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKERS=2, DRAIN_DELAY_SECONDS=1)
        # Without readiness checks: one may be in flight in the killed worker.
        load = start_load(sample.url, ready=None)
        load.wait_for_responses(REQUESTS // 2)
        killed = worker_pids(sample)[0]

        os.kill(killed, signal.SIGKILL)

        sample.wait_for_log("worker died", worker_pid=killed)
        dead = time.monotonic()
        sample.wait_for_log("process started", role="worker", count=3)
        load.wait_for_responses(REQUESTS // 2)
        load.finish()
        report(
            capsys,
            f"SIGKILL of worker {killed}",
            load.summary,
            *(f"{failure.kind} {failure.path} ({failure.reason})" for failure in load.failures),
        )
        # At most one request per client, sent before the worker was gone.
        assert len(load.failures) <= 11
        assert all(failure.began < dead for failure in load.failures)
        assert not any(failure.reason.isdigit() for failure in load.failures)
        assert all(str(killed) in failure.worker or "pid" not in failure.worker for failure in load.failures)
        assert sample.stop() == 0
