"""Every import of a package or service is of a dependency that it declares."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import files, packages_distributions
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")])
INSTALLED = packages_distributions()


def _normalized(requirement: str) -> str:
    """Return the distribution of a requirement such as `PyJWT[crypto]>=2`, normalized (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


@cache
def _modules(distribution: str) -> frozenset[str]:
    paths = [path.as_posix() for path in files(distribution) or () if path.suffix == ".py"]
    return frozenset(re.sub(r"(/__init__)?\.py$", "", path).replace("/", ".") for path in paths)


def _imports(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Return the absolute imports of a file: modules, with the names imported from them."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, [alias.name for alias in node.names]


def _distributions(module: str, names: list[str]) -> set[str]:
    """Return the distributions that may provide a module; exact for namespaces that several share."""
    top = module.partition(".")[0]
    owners = set(INSTALLED.get(top, [top]))
    if len(owners) > 1:
        required = {module, *(f"{module}.{name}" for name in names)}
        owners = {owner for owner in owners if required & _modules(owner)}
    return {_normalized(owner) for owner in owners}


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_every_import_is_of_a_declared_dependency(project: Path) -> None:
    metadata = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    extras = metadata.get("optional-dependencies", {}).values()
    requirements = [metadata["name"], *metadata["dependencies"], *chain.from_iterable(extras)]
    declared = {_normalized(requirement) for requirement in requirements}

    undeclared = {
        f"{source.relative_to(project.parent)} imports {module} of {' or '.join(sorted(providers))}"
        for source in (project.parent / "src").rglob("*.py")
        for module, names in _imports(source)
        # `compression` is in the standard library from Python 3.14.
        if module.partition(".")[0] not in {*sys.stdlib_module_names, "compression"}
        and not (providers := _distributions(module, names)) & declared
    }

    assert undeclared == set()
