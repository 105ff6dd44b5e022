"""Tables of verdicts in README.md and docs/checklist.md, from the results of `just trial`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..trial.results import WORST_FIRST, Results, RowResult, read_results
from .markdown_regions import filled

RESULTS = "docs/checklist.json"
COMPARISON = "docs/comparison.json"
SESSION = "docs/checklist/session.txt"
_OWN = "Starkeel"
_COMMANDS = {
    "check": "Running services",
    "drill": "Services that are started, stopped and disturbed",
    "manifests": "Manifests",
    "image": "Images",
}
_SHOWN = {"pass": "pass", "not applicable": "n/a", "fail": "**fail**", "unknown": "**unknown**"}


def files(root: Path) -> dict[Path, str | None]:
    """Return the files with current tables."""
    if not (root / RESULTS).exists():
        return {}
    results = read_results(root / RESULTS)
    page, readme = root / "docs/checklist.md", root / "README.md"
    comparison, peers = root / "docs/comparison.md", read_results(root / COMPARISON)
    session = (root / SESSION).read_text("utf-8").rstrip("\n")
    parts = {"verdicts": verdict_tables(results), "session": f"```text\n{session}\n```"}
    return {
        page: filled(page.name, page.read_text("utf-8"), parts),
        comparison: filled(
            comparison.name, comparison.read_text("utf-8"), {"stacks": comparison_tables(results, peers)}
        ),
        readme: filled(readme.name, readme.read_text("utf-8"), {"checklist": category_table(results)}),
    }


def category_table(results: Results) -> str:
    """Return one line for each category: its rows by their worst verdict."""
    lines = ["| category | rows | verdicts |", "|---|---|---|"]
    for category in results.categories:
        rows = results.of(category)
        lines.append(f"| {category} | {len(rows)} | {_counts(rows)} |")
    return "\n".join(lines)


def _counts(rows: Sequence[RowResult]) -> str:
    counts = Counter(row.worst for row in rows)
    listed = []
    for verdict in sorted(counts, key=WORST_FIRST.index):
        names = [f"`{row.id}`" for row in rows if row.worst == verdict]
        # Rows that do not pass are named.
        listed.append(
            f"{counts[verdict]} {verdict}" + ("" if verdict == "pass" else f" ({', '.join(names)})")
        )
    return ", ".join(listed)


def comparison_tables(own: Results, peers: Results) -> str:
    """Return the number of verdicts by stack, and the rows judged here that apply to another stack."""
    verdicts = {row.id: _in_production(row) for row in own.rows}
    rows = [
        RowResult(
            id=row.id,
            title=row.title,
            category=row.category,
            severity=row.severity,
            command=row.command,
            verdicts={_OWN: verdicts[row.id], **row.verdicts},
        )
        for row in peers.rows
        if row.worst != "not applicable" and row.id in verdicts
    ]
    stacks = [_OWN, *peers.versions]
    lines = ["| stack | pass | fail | unknown | not applicable |", "|---|---|---|---|---|"]
    for stack in stacks:
        counts = Counter(row.verdicts[stack] for row in rows)
        shown = f"{stack} ({peers.versions[stack]})" if stack in peers.versions else stack
        numbers = (counts[verdict] for verdict in ("pass", "fail", "unknown", "not applicable"))
        lines.append(f"| {shown} | {' | '.join(map(str, numbers))} |")
    return "\n".join([*lines, "", *_behind(rows), "", table(rows, stacks)])


def _behind(rows: Sequence[RowResult]) -> Iterator[str]:
    """Yield the rows that another stack passes and this one does not."""
    behind = [row for row in rows if row.verdicts[_OWN] != "pass" and "pass" in row.verdicts.values()]
    if not behind:
        yield f"No row passes on another stack and not on {_OWN}."
    for row in behind:
        passing = ", ".join(name for name, verdict in row.verdicts.items() if verdict == "pass")
        yield f"- `{row.id}` is {row.verdicts[_OWN]} on {_OWN}, and passes on {passing}."


def _in_production(row: RowResult) -> str:
    found = [verdict for name, verdict in row.verdicts.items() if name.endswith(", production")]
    return min(found, key=WORST_FIRST.index, default="not applicable")


def verdict_tables(results: Results) -> str:
    """Return a table for each command, with the rows by subject."""
    return "\n\n".join(
        f"### {title}\n\n{table([row for row in results.rows if row.command == command], subjects)}"
        for command, title in _COMMANDS.items()
        if (subjects := results.subjects(command))
    )


def table(rows: Sequence[RowResult], subjects: Sequence[str]) -> str:
    """Return the verdicts on rows by subject, as a table of Markdown."""
    return "\n".join(_lines(rows, subjects))


def _lines(rows: Sequence[RowResult], subjects: Sequence[str]) -> Iterator[str]:
    yield f"| row | holds | severity | {' | '.join(subjects)} |"
    yield f"|---|---|---|{'---|' * len(subjects)}"
    for row in rows:
        verdicts = " | ".join(_SHOWN[row.verdicts[name]] if name in row.verdicts else "" for name in subjects)
        yield f"| `{row.id}` | {row.title.replace('|', chr(92) + '|')} | {row.severity} | {verdicts} |"
