"""Formats of reports."""

from collections.abc import Callable

from . import html_report, json_report, junit, markdown, sarif, terminal
from .report import Report

FORMATS: dict[str, Callable[[Report], str]] = {
    "html": html_report.render,
    "json": json_report.render,
    "junit": junit.render,
    "markdown": markdown.render,
    "sarif": sarif.render,
    "terminal": terminal.render,
}
"""Functions that return a report, by the name of `--format`."""
