"""Order in which rows are judged."""

import threading
from collections.abc import Callable

import pytest
from seatrial._rows.registry import load_rows
from seatrial._rows.row import AnyRow, Category, Lane, Row, Severity
from seatrial._rows.verdict import Judgement, passed
from seatrial._run.budget import Budget
from seatrial._run.runner import run_rows

_WAIT_S = 20


def row(name: str, judge: Callable[[], object], lane: Lane) -> AnyRow:
    def judged(_: None) -> Judgement:
        judge()
        return passed(name)

    return Row(
        id=f"config-{name}",
        title=name,
        category=Category.CONFIG,
        severity=Severity.LOW,
        command="drill",
        why="",
        source="",
        how="",
        fix="",
        judge=judged,
        lane=lane,
    )


def test_rows_beside_others_are_judged_at_the_same_time_and_the_last_alone() -> None:
    # Each waits for the other: neither would pass if they were judged in turn.
    both = threading.Barrier(2)
    judged: list[str] = []

    def meet(name: str) -> Callable[[], object]:
        return lambda: (both.wait(_WAIT_S), judged.append(name))

    rows = [
        row("last", lambda: judged.append("last"), "last"),
        row("main", meet("main"), "main"),
        row("beside", meet("beside"), "beside"),
    ]

    results = run_rows(rows, {"drill": None}, Budget(60, 10))

    assert [result.judgement.reason for result in results] == ["last", "main", "beside"]
    assert sorted(judged[:2]) == ["beside", "main"]
    assert judged[2:] == ["last"]


def test_an_interrupt_does_not_wait_for_rows_beside() -> None:
    is_ended = threading.Event()

    def interrupt() -> None:
        raise KeyboardInterrupt

    rows = [row("beside", lambda: is_ended.wait(_WAIT_S), "beside"), row("main", interrupt, "main")]
    with pytest.raises(KeyboardInterrupt):
        run_rows(rows, {"drill": None}, Budget(60, 10))
    assert not is_ended.is_set()
    is_ended.set()


def test_rows_that_stop_the_database_are_judged_alone() -> None:
    found = {row.id for row in load_rows() if row.lane == "last"}
    assert found == {
        "lifecycle-boot-without-database",
        "health-liveness-without-database",
        "health-readiness-with-database",
        "data-outage-status",
        "data-outage-recovery",
    }
