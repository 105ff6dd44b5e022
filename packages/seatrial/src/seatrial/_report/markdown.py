"""The report as Markdown, for the summary of a CI run."""

import re

from .._rows.verdict import Verdict
from .._run.runner import Result
from .report import Report

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!@])")


def render(report: Report) -> str:
    """Return the report: a table of all rows, and details of those that failed."""
    counts = report.counts
    lines = [
        f"# seatrial {report.command} {_text(report.target)}",
        "",
        ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict),
        "",
        "| verdict | row | severity | reason |",
        "| --- | --- | --- | --- |",
    ]
    if report.not_run:
        lines[4:4] = [
            *(f"- not run: `{name}`: {_text(reason)}" for name, reason in report.not_run.items()),
            "",
        ]
    if report.changes is not None:
        listed = [
            f"- {'**regression**' if change.is_regression else 'change'}: `{change.row}`: "
            f"{change.before} -> {change.after}"
            for change in report.changes
        ]
        lines[4:4] = [*(listed or ["No verdict changed since the baseline."]), ""]
    failed = []
    for _, results in report.by_category():
        lines += [_line(result) for result in results]
        failed += [result for result in results if result.is_failure]
    for result in failed:
        lines += _details(result)
    return "\n".join(lines) + "\n"


def _line(result: Result) -> str:
    verdict = result.judgement.verdict
    shown = f"**{verdict}**" if result.is_failure else str(verdict)
    return f"| {shown} | `{result.row.id}` | {result.row.severity} | {_text(result.judgement.reason)} |"


def _details(result: Result) -> list[str]:
    row = result.row
    lines = ["", f"## {row.id}", "", f"{_text(row.title)}: {_text(result.judgement.reason)}"]
    for evidence in result.judgement.evidence:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", evidence.text)), default=0))
        lines += ["", f"{_text(evidence.title)}:", "", f"{fence}text", evidence.text, fence]
    lines += ["", f"Why: {_text(row.why)}", "", f"Fix: {_text(row.fix)}", "", f"Source: {_text(row.source)}"]
    return lines


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
