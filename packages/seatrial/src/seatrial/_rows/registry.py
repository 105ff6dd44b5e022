"""Rows of all installed distributions, by entry point."""

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint, entry_points

from .._errors import UsageError
from .row import AnyRow, Category, Row

GROUP = "seatrial.rows"
_ID = re.compile(r"[a-z]+(-[a-z0-9]+)+")


def load_rows(points: Iterable[EntryPoint] | None = None) -> tuple[AnyRow, ...]:
    """Return all rows, by category and then in the order of their modules.

    Args:
        points: Entry points to load, each an iterable of `Row`; by default those of the group
            `seatrial.rows` in all installed distributions.

    Raises:
        UsageError: An entry point does not load, or two rows have the same identifier.
    """
    found: dict[str, AnyRow] = {}
    if points is None:
        points = entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: point.name):
        for row in _loaded(point):
            if row.id in found:
                raise UsageError(f"entry point {point.name!r} of {GROUP}: a second row {row.id!r}")
            found[row.id] = row
    order = list(Category)
    return tuple(sorted(found.values(), key=lambda row: order.index(row.category)))


def _loaded(point: EntryPoint) -> list[AnyRow]:
    try:
        rows = list(point.load())
    except Exception as error:
        raise UsageError(f"entry point {point.name!r} of {GROUP} does not load: {error!r}") from error
    for row in rows:
        if not isinstance(row, Row):
            raise UsageError(f"entry point {point.name!r} of {GROUP}: {row!r} is not a seatrial.Row")
        if not _ID.fullmatch(row.id) or not row.id.startswith(f"{row.category}-"):
            raise UsageError(
                f"entry point {point.name!r} of {GROUP}: the id {row.id!r} is not `{row.category}-` "
                "and lower-case words with hyphens"
            )
    return rows


def find_row(rows: Sequence[AnyRow], identifier: str) -> AnyRow:
    """Return the row with an identifier.

    Raises:
        UsageError: No row has it.
    """
    for row in rows:
        if row.id == identifier:
            return row
    raise UsageError(f"unknown row {identifier!r}{_similar(rows, identifier)}")


def select(rows: Sequence[AnyRow], patterns: Sequence[str], *, origin: str) -> frozenset[str]:
    """Return the identifiers of the rows that at least one pattern matches.

    Args:
        rows: All rows.
        patterns: Identifiers, categories, or shell patterns such as `edge-*`.
        origin: The option or key of the patterns, for errors.

    Raises:
        UsageError: A pattern matches no row.
    """
    selected: set[str] = set()
    for pattern in patterns:
        matching = {row.id for row in rows if row.category == pattern or fnmatchcase(row.id, pattern)}
        if not matching:
            raise UsageError(f"{origin}: unknown row {pattern!r}{_similar(rows, pattern)}")
        selected |= matching
    return frozenset(selected)


def _similar(rows: Sequence[AnyRow], text: str) -> str:
    names = [row.id for row in rows] + [str(category) for category in Category]
    close = difflib.get_close_matches(text, names, n=3)
    return f"; similar: {', '.join(close)}" if close else "; `seatrial rows` lists all"
