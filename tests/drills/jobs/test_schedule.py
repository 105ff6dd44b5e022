"""One schedule of three replicas whose clocks differ, one of which is killed while it executes the run."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starkeel_testing import wait_until

from ...support.postgres import value
from ...support.report import report
from .work_fleet import Worker, WorkFleet, work_fleet

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(300)]

APART_S = 2
LEAD_S = 20
"""Seconds in which the replicas start before the first clock reaches a full minute."""


def library() -> Path:
    found: Iterator[Path] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    path = next(found, None)
    assert path is not None, "libfaketime is missing: sudo apt-get install faketime"
    return path


def clock(ahead_s: float) -> dict[str, str]:
    """Return the variables of a process whose clock is ahead; durations are measured as ever."""
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME": f"{ahead_s:+.3f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


class Runs(NamedTuple):
    """Record of the schedule at one moment.

    Attributes:
        due: The last time for which a run was enqueued, or from which the schedule begins.
        count: Number of runs.
    """

    due: datetime
    count: int


def test_a_run_with_different_clocks(postgres_url: str, capsys: Any) -> None:
    # The first clock reaches a full minute in `LEAD_S` seconds, the others each 2 s later.
    base_s = -(time.time() + LEAD_S) % 60
    clocks_s = [base_s - APART_S * number for number in range(3)]
    with work_fleet(postgres_url) as fleet:
        replicas = [start(fleet, ahead_s) for ahead_s in clocks_s]
        before = runs_of(fleet)
        # On a slow machine they may have been started too late for the first minute, and wait for the second.
        executing = wait_until(lambda: pid_of_run(fleet, after=before), timeout_s=90, what="the run")
        victim = next(replica for replica in replicas if executing in replica.pids)
        index = replicas.index(victim)
        victim.kill()
        fleet.remove(victim)
        due = runs_of(fleet).due
        wait_until(
            lambda: time.time() + clocks_s[-1] > due.timestamp() + APART_S,
            timeout_s=30, what="the last clock to pass the minute",
        )  # fmt: skip
        fleet.until_done("tick")
        after, effects = runs_of(fleet), fleet.effects("tick")
        attempts = value(fleet.url, "SELECT max(attempts) FROM jobs WHERE name = 'tick'")
    minutes = (after.due - before.due).total_seconds() / 60
    report(
        capsys,
        f"one schedule, three replicas, clocks {APART_S} s apart",
        killed=f"replica {index} at the run",
        minutes=minutes,
        runs=after.count - before.count,
        attempts=attempts,
        effects=effects["tick"] - before.count,
    )
    assert minutes >= 1
    assert after.count - before.count == minutes
    assert effects == {"tick": after.count}
    # The killed one was executed again.
    assert attempts == 2


def runs_of(fleet: WorkFleet) -> Runs:
    """Return the last due time and the number of runs, which are committed together."""
    query = "SELECT (last_due, (SELECT count(*) FROM jobs WHERE name = 'tick')) FROM job_schedules"
    return Runs(*value(fleet.url, f"{query} WHERE name = 'tick'"))


def start(fleet: WorkFleet, ahead_s: float) -> Worker:
    """Start a replica whose clock is ahead, and check that it is, by a line of its log."""
    began = time.time()
    replica = fleet.start_worker(**clock(ahead_s))
    line = replica.service.wait_for_log("admin port opened")
    logged = datetime.fromisoformat(line["timestamp"]).timestamp()
    # The times of a log have milliseconds.
    assert began + ahead_s - 0.001 <= logged <= time.time() + ahead_s
    return replica


def pid_of_run(fleet: WorkFleet, *, after: Runs) -> int | None:
    """Return the id of the process that executes a later run."""
    if runs_of(fleet).count == after.count:
        return None
    name = value(fleet.url, "SELECT worker FROM jobs WHERE state = 'running' AND name = 'tick'")
    return None if name is None else int(name.split("-")[-2])
