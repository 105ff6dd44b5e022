"""Rows of the checklist."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from .verdict import Judgement

Subject = TypeVar("Subject")
Command = Literal["check", "drill", "image", "manifests"]
"""Commands that judge rows."""
Lane = Literal["main", "beside", "last"]
"""When a row is judged: after the ones before it, at the same time as those in the main lane, or alone after
both."""


class Category(StrEnum):
    """Group of rows in reports."""

    LIFECYCLE = "lifecycle"
    HEALTH = "health"
    LOGS = "logs"
    METRICS = "metrics"
    TRACES = "traces"
    ERRORS = "errors"
    EDGE = "edge"
    AUTH = "auth"
    DATA = "data"
    CONFIG = "config"
    TLS = "tls"
    IMAGE = "image"
    MANIFESTS = "manifests"


class Severity(StrEnum):
    """Cost of a row that fails; the first is the highest."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Position, 0 for the highest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Remedy:
    """Fix of a row with a certain framework.

    Attributes:
        framework: Name such as `FastAPI/uvicorn`.
        text: What to do.
    """

    framework: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Row(Generic[Subject]):
    """A row of the checklist.

    Attributes:
        id: Stable identifier: the category, a hyphen, and lower-case words.
        title: What holds if the row passes.
        category: Group in reports.
        severity: Cost of a failure.
        command: The command that judges it, which decides the type of the subject.
        why: Why it matters, in two sentences.
        source: Document that the row follows: a section of an RFC, or an address.
        how: How it is judged.
        fix: How to fix it, in general.
        judge: Returns the judgement of a subject. It may raise `Undecided`, `NotApplicable` and `OSError`;
            no exception is ever a pass.
        remedies: How to fix it with certain frameworks.
        is_attack: Whether it sends malformed or hostile requests. Such rows run against loopback
            addresses and against allowed targets only.
        lane: When it is judged. Rows beside others use nothing that these disturb, and disturb nothing.
    """

    id: str
    title: str
    category: Category
    severity: Severity
    command: Command
    why: str
    source: str
    how: str
    fix: str
    judge: Callable[[Subject], Judgement]
    remedies: tuple[Remedy, ...] = ()
    is_attack: bool = False
    lane: Lane = "main"


AnyRow = Row[Any]
"""A row of any command; the runner passes the subject of the row's command."""
