"""Verdicts and the evidence for them."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Result of a row."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Observation that a verdict is based on.

    Attributes:
        title: What was observed, in a few words.
        text: The exchange, line or numbers; several lines are allowed.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict of a row, with its reason.

    Attributes:
        verdict: The verdict.
        reason: One sentence; for `UNKNOWN`, it states what would make the row decidable.
        evidence: Observations, most important first.
    """

    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...] = ()


class Undecided(Exception):
    """Raised by a row that cannot be judged; the text states what would make it decidable."""


class NotApplicable(Exception):
    """Raised by a row that does not concern the target; the text states why."""


def passed(reason: str, *evidence: Evidence) -> Judgement:
    """Return the judgement of a row that passed."""
    return Judgement(Verdict.PASS, reason, evidence)


def failed(reason: str, *evidence: Evidence) -> Judgement:
    """Return the judgement of a row that failed."""
    return Judgement(Verdict.FAIL, reason, evidence)


def unknown(reason: str, *evidence: Evidence) -> Judgement:
    """Return the judgement of a row that could not be judged."""
    return Judgement(Verdict.UNKNOWN, reason, evidence)


def not_applicable(reason: str, *evidence: Evidence) -> Judgement:
    """Return the judgement of a row that does not concern the target."""
    return Judgement(Verdict.NOT_APPLICABLE, reason, evidence)
