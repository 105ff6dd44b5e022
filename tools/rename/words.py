"""Replace the workspace's name in texts, paths and lock files."""

import re
from pathlib import Path

_SHOWN = "rename-workspace"
_HOLDER = "authors = "
_PACKAGE = "[[package]]\n"
_NAME = re.compile(r'\s*(?:\{ )?(?:name = )?"([A-Za-z0-9._-]+)"')


class Words:
    """The spellings of a name as a whole word: `name`, `Name` and `NAME`, also beside `_` and `-`.

    Lines that have `rename-workspace` show how to use it, and stay, as does the holder of the copyright.

    Args:
        old: The name that is replaced.
        new: The name that replaces it.
    """

    def __init__(self, old: str, new: str) -> None:
        self._new = {spelled(old): spelled(new) for spelled in (str.lower, str.capitalize, str.upper)}
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(self._new)})(?![A-Za-z0-9])")

    def replaced(self, text: str) -> str:
        """Return a text with the new name."""
        return "".join(
            line if _stays(line) else self._pattern.sub(lambda found: self._new[found[0]], line)
            for line in text.splitlines(keepends=True)
        )

    def line_of(self, text: str) -> int | None:
        """Return the number of the first line that has the old name; `None` if there is none."""
        lines = text.splitlines()
        return next(
            (n for n, line in enumerate(lines, 1) if self._pattern.search(line) and not _stays(line)), None
        )


def _stays(line: str) -> bool:
    return _SHOWN in line or line.startswith(_HOLDER)


def text_of(file: Path) -> str | None:
    """Return the content of a text file, with its line ends; `None` for other files, and for licences.

    A licence names the holder of the copyright, which does not change.
    """
    if file.is_symlink() or "LICENSE" in file.name:
        return None
    content = file.read_bytes()
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def sorted_lock(text: str) -> str:
    """Return the text of a `uv.lock` in the order in which uv writes it: packages and lists by name."""
    head, *packages = text.split(_PACKAGE)
    ends = [package if package.endswith("\n\n") else f"{package}\n" for package in packages]
    ends.sort(key=_sort_key)
    body = _PACKAGE.join([head, *ends])
    lines = body.removesuffix("\n").splitlines(keepends=True) if packages else text.splitlines(keepends=True)
    return "".join(_sorted_lists(lines))


def _sort_key(package: str) -> str:
    found = _NAME.match(package)
    return found[1] if found else ""


def _sorted_lists(lines: list[str]) -> list[str]:
    """Return lines with each run of indented names in their order."""
    sorted_lines: list[str] = []
    run: list[str] = []
    for line in lines:
        if line.startswith(" ") and _NAME.match(line):
            run.append(line)
            continue
        sorted_lines += sorted(run, key=_sort_key)
        sorted_lines.append(line)
        run = []
    return sorted_lines + run
