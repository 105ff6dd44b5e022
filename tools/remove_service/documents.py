"""References to files of a removed service in documentation."""

import os
import re
from collections.abc import Callable
from pathlib import Path

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\[\]]*)\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


def without_references(page: Path, text: str, removed: list[Path], root: Path) -> str:
    """Return a page without links to removed files, and without their tests in tables.

    A link becomes its text. A row whose only tests are removed describes nothing that is left.
    """

    def is_removed(path: Path) -> bool:
        return any(path.is_relative_to(each) for each in removed)

    def unlinked(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / found["target"]))
        return found["text"] if is_removed(target) else found[0]

    lines = [
        _without_tests(line, lambda path: is_removed(root / path)) if line.startswith("|") else line
        for line in _LINK.sub(unlinked, text).splitlines(keepends=True)
    ]
    return "".join(lines)


def _without_tests(row: str, is_removed: Callable[[str], bool]) -> str:
    """Return a row without the removed ones of its tests, such as `` `path/test_a.py::test_b` ``."""
    head, separator, tests = row.rstrip().removesuffix(" |").rpartition(" | ")
    named = tests.split(", ")
    if not all(re.fullmatch(r"`[^`]+::\w+`", each) for each in named):
        return row
    left = [each for each in named if not is_removed(each.strip("`").partition("::")[0])]
    if left == named:
        return row
    return f"{head}{separator}{', '.join(left)} |\n" if left else ""
