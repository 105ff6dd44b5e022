"""Comparison with an earlier report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .._errors import UsageError
from .._rows.verdict import Verdict
from .._run.runner import Result

SCHEMA = "seatrial.report/1"
"""Version of the schema of JSON reports: fields may be added to it, and nothing is removed or changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row whose verdict changed.

    Attributes:
        row: Identifier.
        before: Earlier verdict, or `absent`.
        after: Verdict now.
        is_regression: Whether it makes the run fail.
    """

    row: str
    before: str
    after: str
    is_regression: bool


def read_baseline(path: Path) -> Mapping[str, str]:
    """Return the verdicts of an earlier JSON report, by row.

    Raises:
        UsageError: The file is not such a report.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["schema"] != SCHEMA:
            raise UsageError(
                f"--baseline {path}: schema {document['schema']!r}, not {SCHEMA}; write it again"
            )
        return {row["id"]: str(Verdict(row["verdict"])) for row in document["rows"]}
    except OSError as error:
        raise UsageError(f"--baseline {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--baseline {path}: not a report of `--format json`") from error


def compare(
    results: Sequence[Result], baseline: Mapping[str, str]
) -> tuple[tuple[Result, ...], tuple[Change, ...]]:
    """Return the results, of which only regressions are failures, and all changes.

    A failure is no regression if the row failed in the baseline as well. A required row that is not a pass
    is one unless it had the same verdict before. A pass that becomes unknown is one, too: what is no longer
    judged may be broken.
    """
    changes = []
    compared = []
    for result in results:
        before, after = baseline.get(result.row.id, "absent"), str(result.judgement.verdict)
        is_lost = before == Verdict.PASS and after == Verdict.UNKNOWN
        is_regression = before != after and (result.is_failure or is_lost)
        compared.append(
            replace(
                result,
                is_accepted=result.is_failure and not is_regression,
                is_required=result.is_required or is_lost,
            )
        )
        if before != after:
            changes.append(Change(result.row.id, before, after, is_regression))
    return tuple(compared), tuple(changes)
