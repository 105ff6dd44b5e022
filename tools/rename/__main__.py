"""Rename the workspace: packages, images, metrics, variables and documentation, in files and their names.

The new tree is prepared and checked in a folder of its own; only then the workspace changes, at once. The
result is staged, so that `git reset --hard` reverts it.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..registry import ROOT
from ..service_template.record import RecordError
from ..service_template.render import TemplateError
from .checks import RenameError, check, files_of, git, name_of
from .records import read_records, write_records
from .words import Words, sorted_lock, text_of


def main() -> int:
    """Rename the workspace; return the exit code."""
    parser = argparse.ArgumentParser(prog="just rename-workspace", description=__doc__)
    parser.add_argument(
        "name", help="the new name, in lower-case letters and digits: just rename-workspace NAME"
    )
    new: str = parser.parse_args().name
    try:
        rename(ROOT, new)
    except RenameError as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_USAGE
    return 0


def rename(root: Path, new: str) -> None:
    """Rename a workspace.

    Raises:
        RenameError: It cannot be renamed; nothing has changed.
    """
    old = name_of(root)
    check(root, old, new)
    words = Words(old, new)
    with _copy(root) as copy:
        _write(f"replacing {old} by {new} ...")
        try:
            records = read_records(copy)
        except RecordError as error:
            raise RenameError(str(error)) from error
        changed, moved = _replace(copy, words)
        _write("checking uv.lock ...")
        _run(copy, "uv", "lock", "--check", "--offline")
        _write("sorting imports, formatting and generating in a copy ...")
        _finish(copy)
        try:
            write_records(copy, records, words)
        except TemplateError as error:
            raise RenameError(f"{error}; nothing has changed: choose another name") from error
        git(copy, "add", "--all")
        tree = git(copy, "write-tree").strip()
    former = {root / name for name in files_of(root)}
    git(root, "read-tree", "-m", "-u", "HEAD", tree)
    _remove_empty_folders(root, {file.parent for file in former if not file.exists()})
    _write(f"renamed {old} to {new}: {changed} files changed, {moved} moved; all is staged")
    _write("installing the packages by their new names: uv sync ...")
    # `uv run` would leave those of the old names installed.
    subprocess.run(["uv", "sync", "--frozen", "--quiet"], cwd=root, check=False)
    _write("next: uv run just check, then git commit; in other clones, and if it failed here: uv sync")


@contextmanager
def _copy(root: Path) -> Iterator[Path]:
    """Yield a working tree of the last commit, which is removed at the end."""
    with TemporaryDirectory(prefix="rename-") as folder:
        copy = Path(folder) / "workspace"
        git(root, "worktree", "add", "--quiet", "--detach", str(copy), "HEAD")
        try:
            yield copy
        finally:
            git(root, "worktree", "remove", "--force", str(copy))


def _replace(copy: Path, words: Words) -> tuple[int, int]:
    """Replace the name in all files and their names; return the numbers of changed and of moved files."""
    changed = moved = 0
    for name in files_of(copy):
        file = copy / name
        text = text_of(file)
        if text is not None and (replaced := words.replaced(text)) != text:
            content = sorted_lock(replaced) if file.name == "uv.lock" else replaced
            file.write_bytes(content.encode())
            changed += 1
        if (renamed := words.replaced(name)) != name:
            (copy / renamed).parent.mkdir(parents=True, exist_ok=True)
            file.rename(copy / renamed)
            moved += 1
    return changed, moved


def _finish(copy: Path) -> None:
    """Bring what depends on the length and the order of names into the form that `just check` requires."""
    _run(copy, "uv", "sync", "--frozen", "--quiet")
    python = str(copy / ".venv" / "bin" / "python")
    _run(copy, python, "-m", "ruff", "check", "--quiet", "--select", "I", "--fix", ".")
    _run(copy, python, "-m", "ruff", "format", "--quiet", ".")
    # The digests of generated files are those of the former name.
    _run(copy, python, "-m", "tools.generate", "--force")
    _run(copy, python, "-m", "ruff", "check", ".")


def _run(root: Path, *command: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        name = " ".join(Path(command[0]).name if part is command[0] else part for part in command)
        raise RenameError(
            f"`{name}` fails with the new name, and nothing has changed:\n{done.stdout}{done.stderr}"
            "change what it reports and commit that first, or choose another name"
        )


def _remove_empty_folders(root: Path, folders: set[Path]) -> None:
    """Remove folders that have only caches left, which would still be importable."""
    for folder in sorted(folders, reverse=True):
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        for each in (folder, *folder.parents):
            if each == root or not each.is_dir() or any(each.iterdir()):
                break
            each.rmdir()


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
