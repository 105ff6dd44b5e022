"""The report as JUnit XML: one test suite a category."""

import re
from xml.etree import ElementTree as ET

from .._rows.verdict import Verdict
from .._run.runner import Result
from .report import Report

# Characters that XML 1.0 does not allow.
_INVALID = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """Return the report; unknown and not applicable rows are skipped tests, unless they are required."""
    root = ET.Element("testsuites", name=f"seatrial {report.command}", time=f"{report.seconds:.3f}")
    for category, results in report.by_category():
        suite = ET.SubElement(
            root,
            "testsuite",
            name=category,
            tests=str(len(results)),
            failures=str(sum(result.is_failure for result in results)),
            skipped=str(sum(_is_skipped(result) for result in results)),
            errors="0",
            timestamp=report.started_at,
            time=f"{sum(result.seconds for result in results):.3f}",
        )
        for result in results:
            _add_case(suite, result)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _is_skipped(result: Result) -> bool:
    return result.judgement.verdict is not Verdict.PASS and not result.is_failure


def _add_case(suite: ET.Element, result: Result) -> None:
    row, judgement = result.row, result.judgement
    case = ET.SubElement(
        suite, "testcase", classname=f"seatrial.{row.category}", name=row.id, time=f"{result.seconds:.3f}"
    )
    reason = _valid(judgement.reason)
    if result.is_failure:
        failure = ET.SubElement(case, "failure", type=str(judgement.verdict), message=reason)
        evidence = [f"{item.title}:\n{item.text}" for item in judgement.evidence]
        failure.text = _valid("\n\n".join([row.title, *evidence, f"Fix: {row.fix}"]))
    elif _is_skipped(result):
        ET.SubElement(case, "skipped", message=f"{judgement.verdict}: {reason}")


def _valid(text: str) -> str:
    return _INVALID.sub("\N{REPLACEMENT CHARACTER}", text)
