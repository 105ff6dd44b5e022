"""A copy of the workspace, in which a change is made as a whole before any file of the workspace changes."""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

_LAST_LINES: Final = 3

Changes = Mapping[Path, bytes | None]
"""Contents by path from the root; `None` for a file that is removed."""


class StepError(Exception):
    """A command in the copy failed; the message has its last lines."""


class ScratchWorkspace:
    """A copy of a workspace, without its ignored files."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.directory = directory
        self._root = root
        for path in self._listed(root):
            copy_with_bytecode(root / path, directory / path)

    def write(self, files: Mapping[Path, bytes | None]) -> None:
        """Write files by their paths from the root, and remove those that are `None`."""
        for path, content in files.items():
            target = self.directory / path
            if content is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def run(self, what: str, *command: str) -> None:
        """Run a command in the copy, with the modules of its services.

        Args:
            what: What it does, for the progress and the error.
            command: The command.

        Raises:
            StepError: It failed.
        """
        sys.stderr.write(f"{what} ...\n")
        sources = [str(path) for path in sorted(self.directory.glob("services/*/src"))]
        # Files of the copy, not those that are installed from the workspace.
        paths = [str(self.directory), str(self._metadata()), *sources]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        try:
            done = subprocess.run(
                command, cwd=self.directory, env=env, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise StepError(f"{what} failed: {error}") from error
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:]
            shown = "; ".join(line.strip() for line in lines).replace(str(self.directory), str(self._root))
            raise StepError(f"{what} failed: {shown}")

    def lock(self) -> None:
        """Lock the dependencies, without the network if the cache has what is needed.

        The generated list of services is one of them, so it is written first.

        Raises:
            StepError: They cannot be locked.
        """
        with suppress(StepError):
            self.run("locking dependencies", "uv", "lock", "--quiet", "--offline")
            return
        self.run("locking dependencies from the registry", "uv", "lock", "--quiet")

    def generate(self) -> None:
        """Write all generated files.

        Raises:
            StepError: A generator failed.
        """
        # A service can only be imported with its clients, and its OpenAPI document requires that.
        self.run("writing typed clients", sys.executable, "-m", "tools.generate", "clients")
        self.run("writing generated files", sys.executable, "-m", "tools.generate")

    def changes(self) -> dict[Path, bytes | None]:
        """Return the differences from the workspace."""
        before, after = set(self._listed(self._root)), set(self._listed(self.directory))
        found: dict[Path, bytes | None] = dict.fromkeys(before - after)
        for path in sorted(after):
            content = (self.directory / path).read_bytes()
            if path not in before or content != (self._root / path).read_bytes():
                found[path] = content
        return found

    def _metadata(self) -> Path:
        """Write the metadata of the services, which are not installed from the copy; return their folder.

        The version of an OpenAPI document is that of the distribution.
        """
        folder = self.directory / ".data" / "metadata"
        for project in self.directory.glob("services/*/pyproject.toml"):
            table = tomllib.loads(project.read_text("utf-8"))["project"]
            information = folder / f"{table['name']}-{table['version']}.dist-info"
            information.mkdir(parents=True, exist_ok=True)
            text = f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n"
            (information / "METADATA").write_text(text, "utf-8")
        return folder

    def _listed(self, tree: Path) -> list[Path]:
        git = subprocess.run(
            ["git", "rev-parse", "--absolute-git-dir"],
            cwd=self._root,
            capture_output=True,
            text=True,
            check=False,
        )
        if git.returncode:
            raise StepError(f"{self._root}: is not a git repository: run `git init && git add .` first")
        command = ["git", f"--git-dir={git.stdout.strip()}", f"--work-tree={tree}", "ls-files", "-z"]
        listed = subprocess.run(
            [*command, "--cached", "--others", "--exclude-standard"],
            cwd=tree, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return [Path(name) for name in sorted(set(listed.split("\0"))) if name and (tree / name).is_file()]


def copy_with_bytecode(source: Path, target: Path) -> None:
    """Copy a file, and its bytecode, which is valid for a source of the same time and size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
    if source.suffix == ".py":
        compiled, copied = (Path(cache_from_source(path)) for path in (source, target))
        # Each process that imports a copy would compile it again: thousands of modules for a new service.
        if compiled.is_file() and compiled != copied:
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(compiled, copied)


@contextmanager
def scratch_workspace(root: Path) -> Iterator[ScratchWorkspace]:
    """Yield a copy of a workspace, which is removed at the end.

    Raises:
        StepError: The workspace is not a git repository.
    """
    with tempfile.TemporaryDirectory(prefix="workspace-") as directory:
        yield ScratchWorkspace(root, Path(directory).resolve())


@contextmanager
def applied(root: Path, changes: Changes) -> Iterator[None]:
    """Apply changes to the workspace; they are undone if the block or the application fails.

    New contents are written beside the files first, and then renamed.
    """
    before = {path: (root / path).read_bytes() if (root / path).is_file() else None for path in changes}
    try:
        _apply(root, changes)
        yield
    except BaseException:
        _apply(root, before)
        raise


def _apply(root: Path, changes: Changes) -> None:
    written: list[tuple[Path, Path]] = []
    try:
        for path, content in changes.items():
            if content is not None:
                target = root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                beside = target.with_name(f".{target.name}.new")
                written.append((beside, target))
                beside.write_bytes(content)
                if target.exists():
                    shutil.copymode(target, beside)
        for beside, target in written:
            beside.replace(target)
    finally:
        for beside, _ in written:
            beside.unlink(missing_ok=True)
    for path in (path for path, content in changes.items() if content is None):
        (root / path).unlink(missing_ok=True)
    for path in changes:
        _remove_empty((root / path).parent, root)


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
