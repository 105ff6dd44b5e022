"""The report as one self-contained page of HTML, for reading and for printing."""

from html import escape

from .._rows.verdict import Verdict
from .._run.runner import Result
from .report import Report, visible

_STYLE = """
:root { color-scheme: light dark; --fail: #b3261e; --unknown: #8a5a00; --pass: #1b6e3c; --other: #666; }
@media (prefers-color-scheme: dark) {
  :root { --fail: #ff8a80; --unknown: #ffd180; --pass: #81c995; --other: #aaa; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; text-transform: capitalize; }
.counts { display: flex; gap: 2rem; flex-wrap: wrap; margin: 1rem 0; }
.counts b { display: block; font-size: 2rem; line-height: 1.2; }
dl.found { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dl.found dd { margin: 0; overflow-wrap: anywhere; }
details { border-top: 1px solid #8886; padding: .4rem 0; break-inside: avoid; }
summary { cursor: pointer; }
.verdict { display: inline-block; min-width: 8.5rem; font-weight: 600; }
.fail { color: var(--fail); } .unknown { color: var(--unknown); }
.pass { color: var(--pass); } .not-applicable { color: var(--other); }
.reason { margin: .3rem 0 .3rem 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid #8886; padding-left: .7rem; }
@media print { body { max-width: 100%; margin: 0; font-size: 11px; } }
"""


def render(report: Report) -> str:
    """Return the page. It has no script and loads nothing."""
    found = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in report.facts.items())
    sections = "".join(
        f"<section><h2>{_text(category)}</h2>{''.join(map(_result, results))}</section>"
        for category, results in report.by_category()
    )
    title = f"seatrial {report.command} {_text(report.target)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><header><h1>{title}</h1>"
        f"<p>{_text(report.started_at)}, {report.requests} requests in {report.seconds:.1f} s</p>"
        f'<div class="counts">{_counts(report)}</div><dl class="found">{found}</dl></header>'
        f"<main>{sections}</main></body></html>\n"
    )


def _counts(report: Report) -> str:
    order = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS, Verdict.NOT_APPLICABLE)
    return "".join(
        f'<div class="{_class(verdict)}"><b>{report.counts[verdict]}</b>{verdict}</div>' for verdict in order
    )


def _result(result: Result) -> str:
    row, judgement = result.row, result.judgement
    evidence = "".join(
        f"<p>{_text(item.title)}:</p><pre>{_text(item.text)}</pre>" for item in judgement.evidence
    )
    remedies = "".join(f"<li>{_text(item.framework)}: {_text(item.text)}</li>" for item in row.remedies)
    return (
        f"<details{' open' if result.is_failure else ''}><summary>"
        f'<span class="verdict {_class(judgement.verdict)}">{judgement.verdict}</span> '
        f"<b>{_text(row.title)}</b> <small>({row.severity}, {row.id})</small></summary>"
        f'<div class="reason"><p>{_text(judgement.reason)}</p>{evidence}'
        f"<p><b>Why:</b> {_text(row.why)}</p><p><b>Judged:</b> {_text(row.how)}</p>"
        f"<p><b>Fix:</b> {_text(row.fix)}</p>{f'<ul>{remedies}</ul>' if remedies else ''}"
        f"<p><b>Source:</b> {_text(row.source)}</p></div></details>"
    )


def _class(verdict: Verdict) -> str:
    return verdict.replace(" ", "-")


def _text(text: str) -> str:
    return escape(visible(text))
