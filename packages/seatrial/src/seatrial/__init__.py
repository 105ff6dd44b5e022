"""The production checklist as a program.

A plugin provides `Row` objects by the entry point `seatrial.rows`.
"""

from ._rows.row import AnyRow, Category, Command, Remedy, Row, Severity
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
