"""Metadata of the packages for a package index: licence, authors, classifiers, links.

The links follow from `[tool.starkeel-release] repository` in the root `pyproject.toml`; without it, there are
none.
A service is never uploaded: an index refuses its classifier.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..registry import RegistryError

BEGIN = "# generated from [tool.starkeel-release]: metadata for an index"
END = "# end of the generated part"
PRIVATE = "Private :: Do Not Upload"
_REGION = re.compile(rf"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}$", re.MULTILINE | re.DOTALL)


def files(root: Path) -> dict[Path, str | None]:
    """Return the packages' `pyproject.toml` with current metadata, and their licences.

    Raises:
        RegistryError: A package has no place for it, or a service could be uploaded.
    """
    for path in sorted(root.glob("services/*/pyproject.toml")):
        if PRIVATE not in _project(path).get("classifiers", []):
            raise RegistryError(
                f'{path.relative_to(root)}: classifiers: add "{PRIVATE}", with which an index refuses it'
            )
    projects = sorted(root.glob("packages/*/pyproject.toml"))
    # A build takes a licence from the package only, and not every checkout keeps symbolic links.
    licence = (root / "LICENSE").read_text("utf-8")
    found: dict[Path, str | None] = {path: _filled(path, root) for path in projects}
    return found | {path.with_name("LICENSE"): licence for path in projects}


def release_settings(root: Path) -> dict[str, str]:
    """Return `repository` and `documentation`, the addresses in `[tool.starkeel-release]`.

    Raises:
        RegistryError: A key is unknown, or an address is not HTTPS.
    """
    given: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"].get(
        "starkeel-release", {}
    )
    where = "pyproject.toml: [tool.starkeel-release]"
    if unknown := given.keys() - {"repository", "documentation"}:
        raise RegistryError(
            f"{where}: {', '.join(sorted(unknown))}: known keys are `repository` and `documentation`"
        )
    for key, value in given.items():
        if value != "" and not re.fullmatch(r"https://[^\s/]+(/[^\s/]+)*", str(value)):
            raise RegistryError(
                f"{where}: {key}: {value!r} is not an HTTPS address without a slash at the end"
            )
    return {"repository": "", "documentation": ""} | given


def _project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))["project"]
    return project


def _filled(path: Path, root: Path) -> str:
    text = path.read_text("utf-8")
    if len(_REGION.findall(text)) != 1:
        raise RegistryError(
            f"{path.relative_to(root)}: add the lines `{BEGIN}` and `{END}` after `dependencies`"
        )
    lines = [BEGIN, *_lines(_project(path), path.parent, root), END]
    return _REGION.sub(lambda _: "\n".join(lines), text)


def _lines(project: Mapping[str, Any], directory: Path, root: Path) -> Iterator[str]:
    yield 'license = "MIT"'
    yield 'license-files = ["LICENSE"]'
    yield f'authors = [{{ name = "{_holder(root)}" }}]'
    yield "classifiers = ["
    yield from (f'    "{each}",' for each in _classifiers(project, root))
    yield "]"
    if links := _links(directory.name, root):
        yield ""
        yield "[project.urls]"
        yield from (f'{name} = "{address}"' for name, address in links.items())


def _holder(root: Path) -> str:
    found = re.search(r"^Copyright \(c\) \d{4} (.+)$", (root / "LICENSE").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise RegistryError(
            "LICENSE: has no line `Copyright (c) YEAR NAME`: add it, packages name the holder"
        )
    return found[1]


def _classifiers(project: Mapping[str, Any], root: Path) -> Iterator[str]:
    is_stable = not project["version"].startswith("0.")
    yield f"Development Status :: {'5 - Production/Stable' if is_stable else '4 - Beta'}"
    if any(re.match(r"litestar\b", each) for each in project["dependencies"]):
        yield "Framework :: Litestar :: 2"
    if "pytest11" in project.get("entry-points", {}):
        yield "Framework :: Pytest"
    yield "Intended Audience :: Developers"
    yield "Operating System :: POSIX :: Linux"
    yield "Programming Language :: Python :: 3 :: Only"
    yield from (f"Programming Language :: Python :: 3.{minor}" for minor in _tested_minors(root))
    yield "Typing :: Typed"


def _tested_minors(root: Path) -> range:
    """Return the minor versions of Python 3 between the oldest and the newest that CI tests."""
    workflow = (root / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    matrix = re.search(r"^\s+python: \[(.+)\]$", workflow, re.MULTILINE)
    if matrix is None:
        raise RegistryError(".github/workflows/ci.yml: has no line `python: [...]` with the tested versions")
    minors = [int(minor) for minor in re.findall(r'"3\.(\d+)"', matrix[1])]
    return range(min(minors), max(minors) + 1)


def _links(folder: str, root: Path) -> dict[str, str]:
    settings = release_settings(root)
    repository = settings["repository"]
    if not repository:
        return {}
    return {
        "Homepage": repository,
        "Documentation": settings["documentation"] or f"{repository}/tree/main/packages/{folder}#readme",
        "Source": f"{repository}/tree/main/packages/{folder}",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
