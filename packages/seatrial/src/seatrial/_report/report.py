"""Results of a run, as every format presents them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from .._rows.verdict import Evidence, Judgement, Verdict
from .._run.runner import Result
from .baseline import Change

_ORDER = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS, Verdict.NOT_APPLICABLE)
_SHORTEST_SECRET = 6
# Also lone surrogates, which no encoding has, and marks that reorder a line.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Results of a run.

    Attributes:
        target: What was judged: an address, an image or a path.
        command: Command such as `check`.
        found: What was found about the target, by name, such as the path of the health probe.
        results: All results.
        started_at: Time in RFC 3339.
        seconds: Duration.
        requests: Number of requests that were sent.
        seed: Seed of what is random.
        changes: Changes since the baseline; None without one.
        not_run: Why a command of `seatrial run` did not run, by its name.
    """

    target: str
    command: str
    results: tuple[Result, ...]
    started_at: str
    seconds: float
    requests: int
    seed: int
    found: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] | None = None
    not_run: Mapping[str, str] = field(default_factory=dict)
    version: str = field(default_factory=lambda: version("seatrial"))

    @property
    def counts(self) -> Counter[Verdict]:
        """Number of rows of each verdict."""
        return Counter(result.judgement.verdict for result in self.results)

    @property
    def exit_code(self) -> int:
        """0: all passed that must; 1: a row failed; 2: no row could be judged."""
        if any(result.is_failure for result in self.results):
            return 1
        judged = [
            result for result in self.results if result.judgement.verdict in {Verdict.PASS, Verdict.FAIL}
        ]
        return 0 if judged else 2

    @property
    def facts(self) -> dict[str, str]:
        """Facts about the target and the commands that did not run, by name."""
        return {**self.found, **{f"{name} not run": reason for name, reason in self.not_run.items()}}

    def by_category(self) -> list[tuple[str, list[Result]]]:
        """Return the categories, those with the worst result first, and their results, worst first."""
        groups: dict[str, list[Result]] = {}
        for result in sorted(self.results, key=_rank):
            groups.setdefault(result.row.category, []).append(result)
        return list(groups.items())


def _rank(result: Result) -> tuple[int, int]:
    return _ORDER.index(result.judgement.verdict), result.row.severity.rank


def visible(text: str) -> str:
    """Return a text with control characters escaped, so that it cannot change how a report is shown.

    Line feeds and tabs are kept.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def cleaned(results: Iterable[Result], secrets: Iterable[str]) -> tuple[Result, ...]:
    """Return results in whose texts secrets are replaced and control characters escaped."""
    hidden = sorted((secret for secret in secrets if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "[redacted]")
        return visible(text)

    return tuple(
        replace(
            result,
            judgement=Judgement(
                result.judgement.verdict,
                clean(result.judgement.reason),
                tuple(Evidence(clean(item.title), clean(item.text)) for item in result.judgement.evidence),
            ),
        )
        for result in results
    )
