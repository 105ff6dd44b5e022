"""Versions of the workspace's members, and the bounds between packages."""

import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)").fullmatch
_FIELD: Final = re.compile(r'^version = "[^"]*"$', re.MULTILINE)
_HEADING: Final = re.compile(r"^## (\d+\.\d+\.\d+) - ", re.MULTILINE)


class Version(NamedTuple):
    """A version that SemVer and PEP 440 both have: three numbers."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Return the version.

        Raises:
            ValueError: It has another form, such as that of a pre-release.
        """
        found = _VERSION(text)
        if found is None:
            raise ValueError(
                f"{text!r} is not a version: write three numbers, such as 0.2.0 (SemVer and PEP 440)"
            )
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def series(self) -> str:
        """The minor version, such as 0.2."""
        return f"{self.major}.{self.minor}"

    @property
    def next_incompatible(self) -> "Version":
        """The first version that may break code that uses this one (SemVer 2.0.0, 4 and 8)."""
        return Version(self.major + 1, 0, 0) if self.major else Version(0, self.minor + 1, 0)


def projects(root: Path) -> list[Path]:
    """Return `pyproject.toml` of the workspace and of its packages and services."""
    members = [*root.glob("packages/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]
    return [root / "pyproject.toml", *sorted(members)]


def version_of(project: Path) -> Version:
    """Return the version in a `pyproject.toml`.

    Raises:
        ValueError: It has another form.
    """
    try:
        return Version.parse(tomllib.loads(project.read_text("utf-8"))["project"]["version"])
    except ValueError as error:
        raise ValueError(f"{project}: version: {error}") from error


def last_released(root: Path) -> Version | None:
    """Return the version of the first section of `CHANGELOG.md`; `None` before the first release."""
    found = _HEADING.search((root / "CHANGELOG.md").read_text("utf-8"))
    return Version.parse(found[1]) if found else None


def set_versions(root: Path, version: Version) -> None:
    """Write the version of all members, and let packages accept the versions of each other that are tested.

    Packages are released together: none is tested with an older or an incompatible version of another.
    Services keep their bounds, since they run with the packages of the workspace.
    """
    names = "|".join(
        re.escape(tomllib.loads(path.read_text("utf-8"))["project"]["name"])
        for path in root.glob("packages/*/pyproject.toml")
    )
    bound = re.compile(rf'^(\s*"(?:{names})(?:\[[^]]*\])?)>=[^"]*",$', re.MULTILINE)
    for path in projects(root):
        text = _FIELD.sub(f'version = "{version}"', path.read_text("utf-8"), count=1)
        if path.is_relative_to(root / "packages"):
            text = bound.sub(rf'\1>={version},<{version.next_incompatible.series}",', text)
        path.write_text(text, "utf-8")


def add_section(root: Path, version: Version, date: str, sections: str) -> None:
    """Write the section of a version to `CHANGELOG.md`, above those of older ones."""
    path = root / "CHANGELOG.md"
    header, mark, older = path.read_text("utf-8").partition("\n## ")
    path.write_text(f"{header.rstrip()}\n\n## {version} - {date}\n\n{sections}{mark}{older}", "utf-8")
