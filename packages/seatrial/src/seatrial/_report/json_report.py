"""The report as JSON; `report.schema.json` documents it."""

import json
from dataclasses import asdict
from typing import Any

from .._rows.row import AnyRow
from .baseline import SCHEMA
from .report import Report


def render(report: Report) -> str:
    """Return the report."""
    return json.dumps(document(report), indent=2, ensure_ascii=False) + "\n"


def document(report: Report) -> dict[str, Any]:
    """Return the report as values of JSON."""
    return {
        "schema": SCHEMA,
        "seatrial": report.version,
        "command": report.command,
        "target": report.target,
        "started_at": report.started_at,
        "seconds": round(report.seconds, 3),
        "requests": report.requests,
        "seed": report.seed,
        "exit_code": report.exit_code,
        "found": dict(report.found),
        "not_run": dict(report.not_run),
        "changes": None if report.changes is None else [asdict(change) for change in report.changes],
        "counts": {str(verdict): count for verdict, count in sorted(report.counts.items())},
        "rows": [
            {
                **row_fields(result.row),
                "required": result.is_required,
                "accepted": result.is_accepted,
                "verdict": str(result.judgement.verdict),
                "reason": result.judgement.reason,
                "evidence": [
                    {"title": evidence.title, "text": evidence.text} for evidence in result.judgement.evidence
                ],
                "seconds": round(result.seconds, 3),
            }
            for result in report.results
        ],
    }


def row_fields(row: AnyRow) -> dict[str, Any]:
    """Return the entry of a row in the catalogue."""
    return {
        "id": row.id,
        "title": row.title,
        "category": str(row.category),
        "severity": str(row.severity),
        "command": row.command,
        "why": row.why,
        "source": row.source,
        "how": row.how,
        "fix": row.fix,
        "remedies": [{"framework": remedy.framework, "text": remedy.text} for remedy in row.remedies],
    }
