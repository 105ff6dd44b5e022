"""Findings of a row about several subjects, and the judgement that follows."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from .._rows.verdict import Evidence, Judgement, Undecided, failed, not_applicable, passed, unknown
from .fields import FieldError

Subject = TypeVar("Subject")


class Findings:
    """Collects what a row found, one sentence a part of the subject.

    The verdict is that of the worst finding; without any, the row does not apply.
    """

    def __init__(self) -> None:
        self._good: list[str] = []
        self._bad: list[str] = []
        self._undecided: list[str] = []

    def good(self, text: str) -> None:
        """Add a finding that satisfies the row."""
        self._good.append(text)

    def bad(self, text: str) -> None:
        """Add a finding that violates the row."""
        self._bad.append(text)

    def undecided(self, text: str) -> None:
        """Add what cannot be judged, with the reason."""
        self._undecided.append(text)

    def judge(self, is_good: bool, good: str, bad: str) -> None:
        """Add a finding that depends on a condition."""
        (self._good if is_good else self._bad).append(good if is_good else bad)

    def judgement(self, absent: str) -> Judgement:
        """Return the judgement, with all findings as evidence, the worst first.

        Args:
            absent: Reason why the row does not apply if there is no finding.
        """
        groups = (("violated", self._bad), ("undecided", self._undecided), ("satisfied", self._good))
        evidence = tuple(Evidence(title, "\n".join(texts)) for title, texts in groups if texts)
        if self._bad:
            return failed(_summary(self._bad), *evidence)
        if self._undecided:
            return unknown(_summary(self._undecided), *evidence)
        return passed(_summary(self._good), *evidence) if self._good else not_applicable(absent)


def judged(
    add: Callable[[Subject, Findings], None], *, absent: str = "There is nothing that the row is about."
) -> Callable[[Subject], Judgement]:
    """Return the `judge` of a row whose findings a function adds.

    Args:
        add: Adds the findings about a subject.
        absent: Reason why the row does not apply if there is no finding.
    """

    @wraps(add)
    def judge(subject: Subject) -> Judgement:
        findings = Findings()
        try:
            add(subject, findings)
        except FieldError as error:
            # A part that is not valid could hide a violation.
            raise Undecided(f"{error}; correct it.") from error
        return findings.judgement(absent)

    return judge


def _summary(texts: list[str]) -> str:
    rest = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return f"{texts[0]}{rest}."
