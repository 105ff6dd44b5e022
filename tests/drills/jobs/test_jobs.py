"""Jobs of processes that are killed, stopped, or lose their database, in numbers."""

import os
import signal
import time
from collections import Counter
from typing import Any

import pytest
from starkeel_testing import OwnPostgres, wait_until

from tools.registry import ROOT

from ...support.postgres import value
from ...support.report import report
from ..observability.queries import names, queries_of_work
from .work_fleet import Worker, WorkFleet, work_fleet
from .work_sample.app import BACKOFF_S

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(300)]

KILLS, JOBS = 20, 2_000
EACH = JOBS // KILLS


def once(count: int) -> Counter[str]:
    return Counter(str(number) for number in range(count))


def kill(fleet: WorkFleet, number: int) -> None:
    """Kill a process that executes a job, or its whole instance, which another one replaces."""
    while True:
        pid = wait_until(fleet.executing, timeout_s=30, what="a job that executes")
        # The row may be that of a process that was killed before.
        victim = next((worker for worker in fleet.workers if pid in worker.pids), None)
        if victim is not None:
            break
    if number % 4:
        os.kill(pid, signal.SIGKILL)
        return
    victim.kill()
    fleet.remove(victim)
    fleet.start_worker()


def test_killed_workers(postgres_url: str, redis_url: str, capsys: Any) -> None:
    began = time.monotonic()
    with work_fleet(postgres_url, BROKER_URL=redis_url) as fleet:
        for _ in range(3):
            fleet.start_worker()
        for number in range(KILLS):
            fleet.enqueue(EACH, first=number * EACH, pause_s=0.3)
            fleet.publish(EACH, first=number * EACH)
            kill(fleet, number)
        fleet.until_done()
        handled = fleet.until_handled(JOBS)
        effects = fleet.effects()
        states = states_of(fleet)
        repeated = fleet.number("name = 'note' AND attempts > 1")
        handled_again = fleet.number("name = 'hear' AND attempts > 1")
    report(capsys, f"{KILLS} x kill -9 under {JOBS} events", f"{handled}", handled_again=handled_again)
    report(
        capsys,
        f"{KILLS} x kill -9 under {JOBS} jobs and events",
        effects=sum(effects.values()),
        lost=len(once(JOBS) - effects),
        doubled=len(effects - once(JOBS)),
        executed_again=repeated,
        seconds=round(time.monotonic() - began, 1),
    )
    assert handled == (JOBS, 0, 0, 0)
    assert effects == once(JOBS)
    assert states == Counter(succeeded=JOBS)
    # Some were killed while they executed.
    assert repeated > 0


def states_of(fleet: WorkFleet) -> Counter[str]:
    """Return how many of the numbered jobs are in each state."""
    states = ("queued", "running", "succeeded", "failed")
    return Counter({state: fleet.number(f"name = 'note' AND state = '{state}'") for state in states})


def test_a_stopped_worker(postgres_url: str, capsys: Any) -> None:
    count, grace_s = 400, 3
    with work_fleet(postgres_url) as fleet:
        first = fleet.start_worker(SHUTDOWN_GRACE_SECONDS=str(grace_s))
        # Every tenth takes longer than the grace period.
        fleet.enqueue(count, pause_s=6.0)
        wait_until(lambda: fleet.number("state = 'running'") == 8, timeout_s=30, what="all slots in use")
        finished = fleet.number("state = 'succeeded'")
        began = time.monotonic()
        first.service.process.send_signal(signal.SIGTERM)
        code = first.service.wait()
        stopped_s = time.monotonic() - began
        left, done = fleet.number("state = 'running'"), fleet.number("state = 'succeeded'")
        fleet.remove(first)
        for _ in range(3):
            fleet.start_worker(JOBS_CONCURRENCY="20", DB_MAX_CONNECTIONS="24")
        fleet.until_done()
        effects, repeated = fleet.effects(), fleet.number("attempts > 1")
    report(
        capsys,
        "SIGTERM under load",
        exit_code=code,
        stopped_after=f"{stopped_s:.1f} s of {grace_s} s of grace",
        finished_meanwhile=done - finished,
        lost=len(once(count) - effects),
        doubled=len(effects - once(count)),
        counted_as_attempts=repeated,
    )
    assert code == 0
    # Given back at once, not when its silence is noticed.
    assert left == 0
    assert effects == once(count)
    assert repeated == 0


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_restarted_database(own_postgres: OwnPostgres, capsys: Any, how: str) -> None:
    # In one attempt: an outage that counted as one would be a dead letter.
    count = 600
    with work_fleet(own_postgres.url) as fleet:
        for _ in range(2):
            fleet.start_worker()
        fleet.enqueue(count, pause_s=0.5, attempts=1)
        wait_until(lambda: fleet.number("state = 'succeeded'") > 50, timeout_s=30, what="jobs that succeed")
        running = fleet.number("state = 'running'")
        if how == "stopped":
            own_postgres.stop()
        else:
            own_postgres.kill()
        wait_until(lambda: any_away(fleet.workers), timeout_s=30, what="a worker that misses the database")
        own_postgres.start()
        back = time.monotonic()
        fleet.until_done()
        seconds = time.monotonic() - back
        effects, failed = fleet.effects(), fleet.number("state = 'failed'")
        given_back = sum(worker.service.metric("jobs_total", result="given back") for worker in fleet.workers)
    report(
        capsys,
        f"database {how} under {count} jobs",
        executing=running,
        given_back=int(given_back),
        dead_letters=failed,
        lost=len(once(count) - effects),
        doubled=len(effects - once(count)),
        done_after=f"{seconds:.1f} s",
    )
    assert failed == 0
    assert effects == once(count)


def any_away(workers: list[Worker]) -> bool:
    """Return whether a worker has logged that its database is unavailable."""
    return any(line["message"] == "job interrupted" for worker in workers for line in worker.service.logs())


def test_a_poison_job(postgres_url: str, capsys: Any) -> None:
    ages = {}
    with work_fleet(postgres_url) as fleet:
        for _ in range(2):
            fleet.start_worker()
        for poisons, first in ((0, 0), (1, 1000)):
            before = int(value(fleet.url, "SELECT coalesce(max(id), 0) FROM jobs"))
            fleet.enqueue(1000, first=first, poisons=poisons)
            fleet.until_done()
            ages[poisons] = oldest(fleet, before)
        fleet.until_done("poison")
        effects = fleet.effects()
        failed = fleet.number("state = 'failed' AND name = 'poison'")
        attempts = value(fleet.url, "SELECT attempts FROM jobs WHERE name = 'poison'")
    report(
        capsys,
        "a poison job among 1000",
        oldest_age_without=f"{ages[0]:.2f} s",
        oldest_age_with=f"{ages[1]:.2f} s",
        backoff=f"{BACKOFF_S:g} s",
        attempts=attempts,
    )
    assert (failed, attempts) == (1, 3)
    assert effects == once(2000)
    assert ages[1] - ages[0] < BACKOFF_S


def oldest(fleet: WorkFleet, before: int) -> float:
    """Return the greatest time from enqueueing to the end, of the numbered jobs after an id."""
    query = (
        "SELECT extract(epoch FROM max(finished_at - created_at))::float8 FROM jobs WHERE name = 'note'"
        f" AND id > {before}"
    )
    return float(value(fleet.url, query))


def test_metrics_of_rules_and_panels_are_exported(postgres_url: str) -> None:
    used = {name for query in queries_of_work() for name in names(query.expr)}
    of_jobs = {name for name in used if name.startswith(("job_", "jobs_"))}
    assert len(of_jobs) >= 7
    with work_fleet(postgres_url) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(1)
        fleet.until_done()
        exported = {sample.name for sample in worker.service.metrics()}
    assert of_jobs - exported == set()
    reference = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    assert [name for name in of_jobs if f"`{name.removesuffix('_bucket')}`" not in reference] == []
