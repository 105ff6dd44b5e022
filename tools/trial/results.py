"""Verdicts of all subjects by row, without what differs between two runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .subject import Trial

WORST_FIRST = ("fail", "unknown", "pass", "not applicable")


class RowResult(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts on a row.

    Attributes:
        verdicts: By the name of the subject.
    """

    id: str
    title: str
    category: str
    severity: str
    command: str
    verdicts: dict[str, str]

    @property
    def worst(self) -> str:
        """The worst of the verdicts."""
        return min(self.verdicts.values(), key=WORST_FIRST.index)


class Results(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows in the order of the catalogue.

    Attributes:
        versions: What a subject consists of, by its name.
    """

    rows: list[RowResult]
    versions: dict[str, str] = {}

    @property
    def categories(self) -> list[str]:
        """Categories in the order of the catalogue."""
        return list(dict.fromkeys(row.category for row in self.rows))

    def subjects(self, command: str) -> list[str]:
        """Return the names of the subjects that a command has judged."""
        return list(
            dict.fromkeys(name for row in self.rows if row.command == command for name in row.verdicts)
        )

    def without(self, command: str) -> "Results":
        """Return the results without the rows of a command."""
        return Results([row for row in self.rows if row.command != command], self.versions)

    def of(self, category: str) -> list[RowResult]:
        """Return the rows of a category."""
        return [row for row in self.rows if row.category == category]


def results_of(trials: Sequence[Trial]) -> Results:
    """Return the results of finished runs."""
    rows: dict[str, Mapping[str, Any]] = {}
    verdicts: dict[str, dict[str, str]] = {}
    for trial in trials:
        for row in trial.report["rows"]:
            rows.setdefault(row["id"], row)
            verdicts.setdefault(row["id"], {})[trial.name] = row["verdict"]
    categories = list(dict.fromkeys(row["category"] for row in rows.values()))
    ordered = sorted(rows.values(), key=lambda row: categories.index(row["category"]))
    return Results(
        [
            RowResult(
                **{name: row[name] for name in ("id", "title", "category", "severity", "command")},
                verdicts=verdicts[row["id"]],
            )
            for row in ordered
        ]
    )


def read_results(path: Path) -> Results:
    """Return the results in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def write_results(path: Path, results: Results) -> None:
    """Write results to a file."""
    path.write_text(as_text(results), "utf-8")


def as_text(results: Results) -> str:
    """Return results as JSON."""
    return json.dumps(msgspec.to_builtins(results), indent=1, ensure_ascii=False) + "\n"


def differences(before: Results, after: Results, subjects: Sequence[str]) -> Iterator[str]:
    """Yield a line for each verdict on some subjects that differs, and for each subject that is new."""
    earlier = {row.id: row.verdicts for row in before.rows}
    later = {row.id: row.verdicts for row in after.rows}
    known = {name for verdicts in earlier.values() for name in verdicts}
    for name in subjects:
        if name not in known:
            yield f"{name}: has no verdicts in the documentation yet"
            continue
        for row in sorted({*earlier, *later}):
            pair = earlier.get(row, {}).get(name, "absent"), later.get(row, {}).get(name, "absent")
            if pair[0] != pair[1]:
                yield f"{row}, {name}: {pair[0]} -> {pair[1]}"
