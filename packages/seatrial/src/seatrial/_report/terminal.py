"""The report on a terminal: 80 columns, readable without colour."""

import textwrap

from .._rows.verdict import Verdict
from .._run.runner import Result
from .baseline import Change
from .report import Report, visible

WIDTH = 80
_LABELS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "FAIL",
    Verdict.UNKNOWN: "????",
    Verdict.NOT_APPLICABLE: " -- ",
}
_COLOURS = {Verdict.PASS: "32", Verdict.FAIL: "1;31", Verdict.UNKNOWN: "33", Verdict.NOT_APPLICABLE: "2"}
_EVIDENCE_LINES = 6


def render(report: Report, *, has_colour: bool = False) -> str:
    """Return the report as lines.

    Args:
        report: The report.
        has_colour: Whether to add ANSI colours.
    """
    lines = [*_wrapped(f"seatrial {report.command} {visible(report.target)}", ""), ""]
    width = max((len(name) for name in report.facts), default=0)
    lines += [_cut(f"  {name:<{width}}  {visible(text)}") for name, text in report.facts.items()]
    for category, results in report.by_category():
        lines += ["", category.upper(), "-" * WIDTH]
        for result in results:
            lines += _result(result, has_colour=has_colour)
    lines += ["", "=" * WIDTH, *_changes(report), _summary(report)]
    if report.counts[Verdict.UNKNOWN]:
        lines.append("????: not judged, which is no pass; the reason states what is missing.")
    if report.counts[Verdict.FAIL]:
        lines.append("`seatrial explain ROW` describes a row and its fix.")
    return "\n".join(lines) + "\n"


def _changes(report: Report) -> list[str]:
    if report.changes is None:
        return []
    if not report.changes:
        return ["No verdict changed since the baseline."]
    return [f"{_kind(change)}: {change.row}: {change.before} -> {change.after}" for change in report.changes]


def _kind(change: Change) -> str:
    return "regression" if change.is_regression else "change"


def _summary(report: Report) -> str:
    counts = report.counts
    listed = ", ".join(
        f"{counts[verdict]} {name}"
        for verdict, name in (
            (Verdict.FAIL, "failed"),
            (Verdict.UNKNOWN, "unknown"),
            (Verdict.PASS, "passed"),
            (Verdict.NOT_APPLICABLE, "not applicable"),
        )
    )
    required = sum(result.is_failure for result in report.results) - counts[Verdict.FAIL]
    accepted = sum(
        result.is_accepted for result in report.results if result.judgement.verdict is Verdict.FAIL
    )
    if report.changes is not None:
        listed += f"; {accepted} of the failures accepted by the baseline"
    elif required:
        listed += f"; {required} required rows are no pass"
    return f"{listed}; {report.requests} requests, {report.seconds:.1f} s"


def _result(result: Result, *, has_colour: bool) -> list[str]:
    row, judgement = result.row, result.judgement
    label = _LABELS[judgement.verdict]
    if has_colour:
        label = f"\x1b[{_COLOURS[judgement.verdict]}m{label}\x1b[0m"
    lines = [f"{label}  {row.id}" + (f" ({row.severity})" if result.is_failure else "")]
    lines += _wrapped(visible(judgement.reason), "      ")
    if result.is_failure:
        for evidence in judgement.evidence:
            lines.append(_cut(f"      | {visible(evidence.title)}:"))
            shown = evidence.text.splitlines()
            lines += [_cut(f"      |   {visible(line)}") for line in shown[:_EVIDENCE_LINES]]
            if len(shown) > _EVIDENCE_LINES:
                lines.append(f"      |   ... {len(shown) - _EVIDENCE_LINES} more lines")
        lines += _wrapped(f"fix: {row.fix}", "      ")
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
