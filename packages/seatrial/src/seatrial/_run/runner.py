"""Judging rows, most of them one after another."""

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._rows.row import AnyRow, Command, Lane
from .._rows.verdict import Evidence, Judgement, NotApplicable, Undecided, Verdict, not_applicable, unknown
from .budget import Budget, BudgetExhausted

Progress = Callable[[int, int, AnyRow], None]
"""Called before a row is judged: its position from 0, the number of rows, the row."""


@dataclass(frozen=True, slots=True)
class Result:
    """A judged row.

    Attributes:
        row: The row.
        judgement: Its judgement.
        seconds: Time that it took.
        is_required: Whether anything but a pass makes the run fail.
        is_accepted: Whether a baseline accepts the verdict, so that it does not make the run fail.
    """

    row: AnyRow
    judgement: Judgement
    seconds: float = 0.0
    is_required: bool = False
    is_accepted: bool = False

    @property
    def is_failure(self) -> bool:
        """Whether the result makes the run fail."""
        verdict = self.judgement.verdict
        if self.is_accepted:
            return False
        return verdict is Verdict.FAIL or (self.is_required and verdict is not Verdict.PASS)


def run_rows(
    rows: Sequence[AnyRow],
    subjects: Mapping[Command, Any],
    budget: Budget,
    *,
    required: frozenset[str] = frozenset(),
    refused_attacks: str = "",
    progress: Progress = lambda *_: None,
) -> list[Result]:
    """Judge rows and return their results, in the order of the rows.

    Args:
        rows: The rows.
        subjects: Subject of each command that the rows belong to.
        budget: Limits; rows that are left when one is reached are unknown.
        required: Identifiers of rows that must pass.
        refused_attacks: Why rows that attack must not run against this target, or empty.
        progress: Called before each row, from the thread that judges it.
    """
    results: dict[str, Result] = {}
    is_interrupted = threading.Event()
    positions = {row.id: position for position, row in enumerate(rows)}

    def judge(lane: Lane) -> None:
        for row in rows:
            if row.lane != lane or is_interrupted.is_set():
                continue
            progress(positions[row.id], len(rows), row)
            started = time.monotonic()
            if row.is_attack and refused_attacks:
                judgement = unknown(refused_attacks)
            else:
                judgement = _judge(row, subjects[row.command], budget)
            results[row.id] = Result(row, judgement, time.monotonic() - started, row.id in required)

    # Not awaited after an exception: what it waits for is closed next.
    beside = threading.Thread(target=judge, args=("beside",), daemon=True)
    beside.start()
    try:
        judge("main")
        beside.join()
        judge("last")
    except BaseException:
        is_interrupted.set()
        raise
    return [results[row.id] for row in rows]


def _judge(row: AnyRow, subject: Any, budget: Budget) -> Judgement:
    try:
        budget.check_time()
        return row.judge(subject)
    except NotApplicable as reason:
        return not_applicable(str(reason))
    except (Undecided, BudgetExhausted) as reason:
        return unknown(str(reason))
    except OSError as error:
        return unknown(f"The connection failed while the row was judged: {error}.")
    except Exception as error:  # noqa: BLE001 - a fault of one row must not end the run, nor pass it
        details = "".join(traceback.format_exception(error)[-3:])
        return unknown(f"Fault of the row: {error!r}.", Evidence("traceback of seatrial", details))
