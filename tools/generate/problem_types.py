"""Documentation of the types of problems, `docs/errors.md`."""

from pathlib import Path

from starkeel_http import PROBLEM_TYPES

_HEAD = """# Errors

Every error response is `application/problem+json` (RFC 9457).
With `PROBLEM_TYPES_URL`, the member `type` is that URL followed by the name of a section below.
Otherwise it is `about:blank`, and `status` decides.
The names are stable: compare them, not `title` or `detail`.
A client treats an unknown type as its `status` (RFC 9457, 3).
Design: [decision 0009](decisions/0009-problem-types.md).

| type | status |
|---|---|
"""


def files(root: Path) -> dict[Path, str | None]:
    """Return the page by path."""
    rows = "".join(f"| [`{each.name}`](#{each.name}) | {each.status} |\n" for each in PROBLEM_TYPES)
    sections = "".join(
        f"\n## {each.name}\n\n`{each.status} {each.title}`: {each.meaning}\n\n{each.remedy}\n"
        for each in PROBLEM_TYPES
    )
    return {root / "docs" / "errors.md": _HEAD + rows + sections}
