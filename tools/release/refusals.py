"""Reasons not to make a release."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from ..checks.api_compatibility import allows_breaking
from ..generate.metadata import release_settings
from ..registry import RegistryError
from .fragments import fragments, problems
from .git import Git
from .versions import Version, last_released, projects, version_of


def refusals(root: Path, git: Git, version: Version) -> Iterator[str]:
    """Yield each reason with its solution, if the version cannot be released."""
    yield from _repository(git, version)
    yield from _settings(root)
    yield from _versions(root, version)
    yield from problems(root)
    found = fragments(root)
    if not found:
        yield "changes/: has no fragment: there is nothing to release"
    last = last_released(root)
    is_breaking = last is not None and any(each.kind == "breaking" for each in found)
    if last is not None and is_breaking and not allows_breaking(str(last), str(version)):
        yield f"{version}: changes/*.breaking.md need version {last.next_incompatible} or a later one"
    before = last or version_of(root / "pyproject.toml")
    guide = f"docs/upgrade/{before.series}-to-{version.series}.md"
    if before.series != version.series and not (root / guide).exists():
        yield f"{guide}: is missing: write what users of {before.series} have to do"


def _repository(git: Git, version: Version) -> Iterator[str]:
    if git.branch() != "main":
        yield f"the branch is {git.branch() or 'detached'}: releases are made on main: `git switch main`"
    if git("status", "--porcelain"):
        yield "the work tree has uncommitted changes: commit or remove them (`git status`)"
    if git("tag", "--list", f"v{version}"):
        yield f"tag v{version} exists: choose a later version"


def _settings(root: Path) -> Iterator[str]:
    try:
        if not release_settings(root)["repository"]:
            yield (
                "pyproject.toml: [tool.starkeel-release]: repository: is empty: set it to the address of the"
                " repository, such as https://github.com/OWNER/NAME, then run `just metadata` and commit"
            )
    except (RegistryError, tomllib.TOMLDecodeError) as error:
        yield str(error)


def _versions(root: Path, version: Version) -> Iterator[str]:
    last = last_released(root)
    if last is not None and version <= last:
        yield f"{version} is not greater than {last}, the last version in CHANGELOG.md"
    for path in projects(root):
        try:
            own = version_of(path)
        except ValueError as error:
            yield str(error)
            continue
        if own > version:
            yield f"{path.relative_to(root)}: version {own} is greater: release {own} or a later one"
