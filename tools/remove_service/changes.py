"""The change of the workspace: planned in a copy, then applied, all or nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ..registry import read
from .checks import Refusal, owned_paths
from .documents import without_references

Changes = Mapping[Path, bytes | None]
"""New contents of files; `None` for one that is removed."""


def planned(root: Path, name: str, removed: list[Path]) -> Changes:
    """Return the change that removes a service, without making it.

    Raises:
        Refusal: A file cannot be generated or locked without the service.
        RegistryError: The registry is invalid without the service.
    """
    with TemporaryDirectory(prefix="remove-service-") as folder:
        copy = Path(folder)
        before = _copied(root, copy)
        for path in removed:
            gone = copy / path.relative_to(root)
            if gone.is_dir():
                shutil.rmtree(gone)
            else:
                gone.unlink(missing_ok=True)
        read(copy)
        _unlink(copy, owned_paths(copy, name))
        _run(copy, [sys.executable, "-m", "tools.generate"], f"the files without {name} cannot be generated")
        _lock(copy)
        after = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
        changes: dict[Path, bytes | None] = {}
        for path in sorted(before | after):
            new = (copy / path).read_bytes() if path in after else None
            old = (root / path).read_bytes() if path in before else None
            if new != old and not _is_cache(path):
                changes[root / path] = new
        return changes


def _copied(root: Path, copy: Path) -> set[Path]:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    found = {Path(name) for name in listed if name and (root / name).is_file()}
    for path in found:
        (copy / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, copy / path)
    return found


def _unlink(copy: Path, removed: list[Path]) -> None:
    for page in copy.rglob("*.md"):
        text = page.read_text("utf-8")
        if (new := without_references(page, text, removed, copy)) != text:
            page.write_text(new, "utf-8")


def _lock(copy: Path) -> None:
    # What is left of a lock needs nothing new, so that the cache is usually enough.
    offline = subprocess.run(
        ["uv", "lock", "--quiet", "--offline"], cwd=copy, capture_output=True, check=False
    )
    if offline.returncode:
        _run(copy, ["uv", "lock", "--quiet"], "uv.lock cannot be written")


def _run(copy: Path, command: list[str], problem: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).replace(f"{copy}/", "")
        raise Refusal(f"{problem}; nothing was changed: {reason}")


def _is_cache(path: Path) -> bool:
    return "__pycache__" in path.parts or path.parts[0] == ".venv"


def apply(root: Path, changes: Changes, removed: list[Path]) -> Path:
    """Make a change; return the folder with the former contents.

    Args:
        root: The workspace.
        changes: The change.
        removed: Files and folders that are removed, with what git ignores in them.

    Raises:
        OSError: A file cannot be written; all are as before.
    """
    replacement = _Replacement(root)
    try:
        for path, content in changes.items():
            replacement.prepare(path, content)
        for path in removed:
            replacement.move(path)
        for path in changes:
            replacement.replace(path)
    except BaseException:
        replacement.undo()
        raise
    return replacement.kept


class _Replacement:
    """Files that are replaced: the new ones are written beside them, the former ones are kept."""

    def __init__(self, root: Path) -> None:
        self.kept = root / ".data" / f"removing-{os.getpid()}"
        self._root = root
        self._new: dict[Path, Path] = {}
        self._moved: list[Path] = []
        self._created: list[Path] = []

    def prepare(self, path: Path, content: bytes | None) -> None:
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._new[path] = path.with_name(f".{path.name}.new")
            self._new[path].write_bytes(content)

    def move(self, path: Path) -> None:
        if path.exists():
            target = self.kept / path.relative_to(self._root)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            self._moved.append(path)

    def replace(self, path: Path) -> None:
        self.move(path)
        if path in self._new:
            self._new[path].rename(path)
            self._created.append(path)

    def undo(self) -> None:
        for path in self._new.values():
            path.unlink(missing_ok=True)
        for path in self._created:
            path.unlink()
        for path in reversed(self._moved):
            (self.kept / path.relative_to(self._root)).rename(path)
        shutil.rmtree(self.kept, ignore_errors=True)


def keep(root: Path, name: str, kept: Path, unsaved: list[Path]) -> Path | None:
    """Delete the former contents, except for files that are in no commit; return the folder with these."""
    folder = None
    if unsaved:
        folder = root / ".data" / "removed" / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        for path in unsaved:
            target = folder / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            (kept / path.relative_to(root)).rename(target)
    shutil.rmtree(kept, ignore_errors=True)
    return folder
