"""The commands `rows` and `explain`."""

import json
import textwrap

from .._report.json_report import row_fields
from .._report.terminal import WIDTH
from .._rows.registry import find_row, load_rows


def list_rows(*, as_json: bool) -> str:
    """Return the catalogue, one row a line, its identifier first."""
    rows = load_rows()
    if as_json:
        return json.dumps([row_fields(row) for row in rows], indent=2, ensure_ascii=False) + "\n"
    width = max((len(row.id) for row in rows), default=0)
    return "".join(f"{row.id:<{width}}  {row.command:<9}  {row.severity:<8}  {row.title}\n" for row in rows)


def explain(identifier: str) -> str:
    """Return the description of a row.

    Raises:
        UsageError: No row has the identifier.
    """
    row = find_row(load_rows(), identifier)
    parts = [
        f"{row.id}: {row.title}",
        f"category: {row.category}\nseverity: {row.severity}\njudged by: seatrial {row.command}",
        *(_part(title, text) for title, text in (("Why", row.why), ("How it is judged", row.how))),
        f"Source\n  {row.source}",
        _part("Fix", row.fix),
        *(_part(f"Fix with {remedy.framework}", remedy.text) for remedy in row.remedies),
    ]
    return "\n\n".join(parts) + "\n"


def _part(title: str, text: str) -> str:
    body = textwrap.fill(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{title}\n{body}"
