"""Check a new name of the workspace before anything is changed."""

import importlib.util
import keyword
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from .words import Words, text_of

MAX_LENGTH = 12
"""Characters of a name; lines of code with a longer name would exceed the limit of the linter."""
_NAME = re.compile(rf"[a-z][a-z0-9]{{1,{MAX_LENGTH - 1}}}").fullmatch


class RenameError(Exception):
    """The workspace cannot be renamed; the message has the reason and the solution. Nothing has changed."""


def check(root: Path, old: str, new: str) -> None:
    """Check that the workspace can be renamed.

    Args:
        root: The workspace.
        old: Its name.
        new: Its new name.

    Raises:
        RenameError: The name is invalid or taken, or the tree has changes that are not committed.
    """
    if not _NAME(new):
        raise RenameError(
            f"{new!r} cannot name the workspace: use 2 to {MAX_LENGTH} lower-case letters and digits,"
            " starting with a letter"
        )
    if new == old:
        raise RenameError(f"the workspace has the name {old!r} already: choose another one")
    if reason := _taken(root, old, new):
        raise RenameError(f"the name {new!r} is taken: {reason}; choose another one")
    if changes := git(root, "status", "--porcelain").splitlines():
        listed = ", ".join(change[3:] for change in changes[:3])
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise RenameError(
            f"the tree has changes that are not committed: {listed}{more}; commit them, or `git stash -u`"
        )
    if place := _first_use(root, new):
        raise RenameError(
            f"{place}: has the word {new!r} already, so that the rename could not be undone; choose another"
            " name, or replace the word there"
        )


def name_of(root: Path) -> str:
    """Return the name of the workspace, that of its root project."""
    name: str = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    return name


def files_of(root: Path) -> list[str]:
    """Return the paths of the files in git."""
    return git(root, "ls-files", "-z").split("\0")[:-1]


def git(root: Path, *arguments: str) -> str:
    """Run git and return its output.

    Raises:
        RenameError: git failed.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RenameError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _taken(root: Path, old: str, new: str) -> str | None:
    """Return what has the name, or the name of one of the packages after the rename."""
    if keyword.iskeyword(new) or keyword.issoftkeyword(new):
        return "it is a keyword of Python"
    if new in sys.stdlib_module_names:
        return "it is a module of Python's standard library"
    if (root / "services" / new).exists():
        return f"services/{new} is a service"
    locked = {package["name"] for package in tomllib.loads((root / "uv.lock").read_text("utf-8"))["package"]}
    for own in sorted(name for name in locked if name == old or name.startswith(f"{old}-")):
        renamed = new + own.removeprefix(old)
        if renamed in locked:
            return f"uv.lock has a package {renamed!r}"
        module = renamed.replace("-", "_")
        if importlib.util.find_spec(module) is not None:
            return f"a module {module!r} is installed, or is in the workspace"
    return None


def _first_use(root: Path, new: str) -> str | None:
    """Return the first place of a word in the files and their names."""
    words = Words(new, new)
    for name in files_of(root):
        if words.line_of(name):
            return name
        text = text_of(root / name)
        if text is not None and (line := words.line_of(text)):
            return f"{name}:{line}"
    return None
