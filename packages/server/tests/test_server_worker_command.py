"""The command `worker`: the supervised processes without an application port."""

import os
import signal
import socket
from typing import Any

import httpx2
import pytest

from .sample import Sample, Samples, wait_until


def working(samples: Samples, **env: Any) -> Sample:
    """Start the command and wait until its workers are up."""
    sample = samples.start("worker", **env)
    sample.wait_for_log("workers started")
    return sample


def admin(sample: Sample, path: str) -> httpx2.Response:
    return httpx2.get(f"{sample.admin}{path}", timeout=10, trust_env=False)


def test_it_runs_the_application_without_its_port(samples: Samples) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sample = working(samples, PORT=taken.getsockname()[1], RUN_WORKER="false")

        wait_until(lambda: admin(sample, "/ready").status_code == 200)
        assert admin(sample, "/live").status_code == 200
        assert 'starkeel_workers{status="ready"} 1.0' in admin(sample, "/metrics").text
        # What a web worker with this setting does not do.
        assert sample.wait_for_log("sample started")["works"] is True
        assert sample.wait_for_log("starting application")["command"] == "worker"
    assert sample.stop() == 0
    assert "listening" not in sample.messages


@pytest.mark.parametrize(("setting", "works"), [("true", True), ("false", False)])
def test_processes_that_serve_requests_work_as_configured(
    samples: Samples, setting: str, works: bool
) -> None:
    sample = samples.ready(RUN_WORKER=setting)

    assert sample.wait_for_log("sample started")["works"] is works


def test_a_killed_worker_is_replaced(samples: Samples) -> None:
    sample = working(samples)
    [worker] = [pid for pid in samples.processes() if pid != sample.process.pid]

    os.kill(worker, signal.SIGKILL)

    sample.wait_for_log("sample started", count=2)
    wait_until(lambda: admin(sample, "/ready").status_code == 200)
    assert worker not in samples.processes()


def test_it_stops_at_once_as_no_load_balancer_must_learn_of_it(samples: Samples) -> None:
    sample = working(samples, DRAIN_DELAY_SECONDS="60")

    sample.signal(signal.SIGTERM)

    assert sample.wait(timeout_s=30) == 0
    assert {"stopped taking work", "closing database connections", "shutdown complete"} <= set(
        sample.messages
    )


def test_its_workers_are_replaced_on_sighup(samples: Samples) -> None:
    sample = working(samples)

    sample.signal(signal.SIGHUP)

    sample.wait_for_log("sample started", count=2)
    wait_until(lambda: "closing database connections" in sample.messages)
    assert sample.stop() == 0


def test_a_taken_admin_port_is_reported(samples: Samples) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sample = samples.finished("worker", METRICS_PORT=taken.getsockname()[1])

    assert sample.process.returncode == 71
    assert "METRICS_PORT" in sample.output
    assert "Traceback" not in sample.output


@pytest.mark.parametrize("options", [[], ["--ready"]])
def test_its_health_is_that_of_the_admin_port(samples: Samples, options: list[str]) -> None:
    sample = working(samples)
    ports = {"PORT": "1", "METRICS_PORT": sample.admin.rpartition(":")[2]}
    wait_until(lambda: admin(sample, "/ready").status_code == 200)

    health = samples.finished("health", *options, **ports)

    assert health.process.returncode == 0, health.output


def test_it_takes_no_options(samples: Samples) -> None:
    sample = samples.finished("worker", "--now")

    assert sample.process.returncode == 2
    assert "--now" in sample.output
