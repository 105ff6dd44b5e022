"""The production checklist as a program.

A plugin provides `Row` objects by the entry point `seatrial.rows`.
"""

from ._rows.row import AnyRow, Category, Command, Lane, Remedy, Row, Severity
from ._rows.verdict import (
    Evidence,
    Judgement,
    NotApplicable,
    Undecided,
    Verdict,
    failed,
    not_applicable,
    passed,
    unknown,
)

__all__ = [
    "AnyRow",
    "Category",
    "Command",
    "Evidence",
    "Judgement",
    "Lane",
    "NotApplicable",
    "Remedy",
    "Row",
    "Severity",
    "Undecided",
    "Verdict",
    "failed",
    "not_applicable",
    "passed",
    "unknown",
]
