"""The report as SARIF 2.1.0, for code scanning."""

import json
from typing import Any

from .._rows.row import Severity
from .._rows.verdict import Verdict
from .._run.runner import Result
from .report import Report

_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}
_SCORES = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}
_KINDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.UNKNOWN: "open",
    Verdict.NOT_APPLICABLE: "notApplicable",
}


def render(report: Report) -> str:
    """Return the report."""
    return json.dumps(_document(report), indent=2, ensure_ascii=False) + "\n"


def _document(report: Report) -> dict[str, Any]:
    rules = [
        {
            "id": result.row.id,
            "shortDescription": {"text": result.row.title},
            "fullDescription": {"text": result.row.why},
            "help": {"text": f"{result.row.how} Fix: {result.row.fix} Source: {result.row.source}"},
            "defaultConfiguration": {"level": _LEVELS[result.row.severity]},
            "properties": {
                "tags": [str(result.row.category)],
                "security-severity": _SCORES[result.row.severity],
            },
        }
        for result in report.results
    ]
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "seatrial", "version": report.version, "rules": rules}},
                "invocations": [{"executionSuccessful": report.exit_code < 2}],
                "results": [
                    _result(result, position, report.target) for position, result in enumerate(report.results)
                ],
            }
        ],
    }


def _result(result: Result, position: int, target: str) -> dict[str, Any]:
    judgement = result.judgement
    evidence = "".join(f"\n\n{item.title}:\n{item.text}" for item in judgement.evidence)
    # A level applies to failures alone; a required row that is not a pass is one.
    verdict = Verdict.FAIL if result.is_failure else judgement.verdict
    return {
        "ruleId": result.row.id,
        "ruleIndex": position,
        "kind": _KINDS[verdict],
        "level": _LEVELS[result.row.severity] if result.is_failure else "none",
        "message": {"text": f"{judgement.reason}{evidence}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": "seatrial.toml"}},
                "logicalLocations": [{"name": target, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"seatrialRow/v1": result.row.id},
    }
