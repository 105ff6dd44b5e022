"""Changelog fragments, `changes/NAME.KIND.md`: one file per change, so that branches do not conflict.

python -m tools.release.fragments    exit with 1 if a fragment has another form

A fragment has one entry, or several separated by a blank line: sentences, one per line, without a bullet.
Its links are relative to its own folder.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ..registry import ROOT

KINDS: Final = ("breaking", "deprecated", "added", "changed", "fixed", "security")
"""In the order of their sections."""

_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]*\.({'|'.join(KINDS)})\.md").fullmatch


class Fragment(NamedTuple):
    """A file with entries of one kind."""

    path: Path
    kind: str
    entries: list[str]


def main() -> int:
    """Print what is wrong with the fragments and the changelog; return 1 if anything is."""
    found = [*problems(ROOT)]
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    return 1 if found else 0


def fragments(root: Path) -> list[Fragment]:
    """Return the fragments by name; those with a problem may be incomplete."""
    return [
        Fragment(path, path.name.split(".")[-2], path.read_text("utf-8").strip("\n").split("\n\n"))
        for path in sorted(root.glob("changes/*.md"))
        if _NAME(path.name)
    ]


def problems(root: Path) -> Iterator[str]:
    """Yield what is wrong, each with the file and the solution."""
    for path in sorted(root.glob("changes/*")):
        if not _NAME(path.name):
            yield f"changes/{path.name}: rename it to NAME.KIND.md; kinds: {', '.join(KINDS)}"
    for fragment in fragments(root):
        where = f"changes/{fragment.path.name}"
        for entry in fragment.entries:
            yield from (f"{where}: {problem}" for problem in _entry_problems(entry))
        if not fragment.path.read_text("utf-8").endswith("\n"):
            yield f"{where}: end it with a line break"
    if re.search(r"^## unreleased", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE | re.IGNORECASE):
        yield "CHANGELOG.md: move the entries of `Unreleased` to files changes/NAME.KIND.md, and remove it"


def _entry_problems(entry: str) -> Iterator[str]:
    if not entry.strip():
        yield "write at least one sentence, and one blank line between entries"
        return
    shown = f"{entry[:40]!r}..."
    if any(re.match(r"\s|[-*+#] |$", line) for line in entry.split("\n")):
        yield f"{shown}: write sentences without bullets, headings and indentation"
    if not entry.endswith("."):
        yield f"{shown}: end the entry with a full stop"
    for link in re.findall(r"\]\((?!https?://|\.\./)([^)]+)\)", entry):
        yield f"{shown}: the link {link} is not relative to this folder: write ../{link}"


def rendered(found: list[Fragment]) -> str:
    """Return the sections of a version, with links that are relative to `CHANGELOG.md`."""
    sections = []
    for kind in KINDS:
        entries = [entry for fragment in found if fragment.kind == kind for entry in fragment.entries]
        lines = ["- " + entry.replace("\n", "\n  ").replace("](../", "](") for entry in entries]
        if lines:
            sections.append(f"### {kind.capitalize()}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.exit(main())
