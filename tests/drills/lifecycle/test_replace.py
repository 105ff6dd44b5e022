"""Workers are replaced under load: by SIGHUP, after SIGKILL."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ...support.load import Load
from .sample_service import REQUESTS, port_of, report, sampling


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
        load = Load(port_of(sample.url)).start()
        load.wait_for_answers(REQUESTS // 2)

        sample.signal(signal.SIGHUP)

        sample.wait_for_log("workers replaced")
        load.wait_for_answers(REQUESTS // 2)
        load.finish()
        report(capsys, f"SIGHUP with {workers} workers", load)
        assert load.failures == []
        after = worker_pids(sample)[workers:]
        assert len(after) == workers
        assert not any(Path(f"/proc/{pid}").exists() for pid in before)
        assert sample.stop() == 0


def test_ten_sighups_in_a_row_fail_no_request(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(DRAIN_DELAY_SECONDS=1)
        load = Load(port_of(sample.url)).start()
        for number in range(1, 11):
            load.wait_for_answers(REQUESTS // 10)
            sample.signal(signal.SIGHUP)
            sample.wait_for_log("workers replaced", count=number)
        load.finish()

        report(capsys, "ten SIGHUPs", load)
        assert load.failures == []
        assert len(worker_pids(sample)) == 11
        assert sample.stop() == 0


def test_only_what_a_killed_worker_had_in_flight_fails(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKERS=2, DRAIN_DELAY_SECONDS=1)
        # A probe may be in flight in that worker, too: what it says decides nothing here.
        load = Load(port_of(sample.url), ready=None).start()
        load.wait_for_answers(REQUESTS // 2)
        killed = worker_pids(sample)[0]

        os.kill(killed, signal.SIGKILL)

        sample.wait_for_log("worker died", worker_pid=killed)
        dead = time.monotonic()
        sample.wait_for_log("process started", role="worker", count=3)
        load.wait_for_answers(REQUESTS // 2)
        load.finish()
        report(
            capsys,
            f"SIGKILL of worker {killed}",
            load,
            *(f"{failure.kind} {failure.path} ({failure.why})" for failure in load.failures),
        )
        # Each client has one request in flight at a time; none failed that was sent once the worker was gone.
        assert len(load.failures) <= 11
        assert all(failure.began < dead for failure in load.failures)
        assert not any(failure.why.isdigit() for failure in load.failures)
        assert all(str(killed) in failure.worker or "pid" not in failure.worker for failure in load.failures)
        assert sample.stop() == 0
