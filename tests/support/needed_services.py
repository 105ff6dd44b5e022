"""Test modules that need a service: left out, and reported, where the registry does not have it.

A module, or one that it imports from `tests` or that is its `conftest.py`, declares the services:

    NEEDED_SERVICES = ("orders",)

The declarations are read from the source, because importing the module would fail without the service.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_DECLARATION = re.compile(r"^NEEDED_SERVICES = (\(.*\))$", re.MULTILINE)


class WithoutService(pytest.Module):
    """A module whose tests cannot be imported."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Return no test."""
        return []


@cache
def declared(path: Path) -> frozenset[str]:
    """Return the services that a module itself declares.

    Raises:
        pytest.UsageError: The declaration is not a tuple of names.
    """
    found = _DECLARATION.search(path.read_text("utf-8"))
    names = ast.literal_eval(found[1]) if found else ()
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise pytest.UsageError(f'{path}: NEEDED_SERVICES is not like ("orders",)')
    return frozenset(names)


@cache
def needed(path: Path, root: Path) -> frozenset[str]:
    """Return the services that a test module and the modules below `tests` that it imports need."""
    found: set[str] = set()
    seen: set[Path] = set()
    waiting = [path, *(folder / "conftest.py" for folder in path.parents if folder.is_relative_to(root))]
    while waiting:
        module = waiting.pop()
        if module not in seen and module.is_file():
            seen.add(module)
            found |= declared(module)
            waiting += _imported(module, root)
    return frozenset(found)


def modules_with_tests(root: Path) -> list[Path]:
    """Return the modules with tests across packages, and of packages and services."""
    folders = [root / "tests", *root.glob("packages/*/tests"), *root.glob("services/*/tests")]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def left_out(root: Path, services: frozenset[str]) -> dict[str, list[Path]]:
    """Return the test modules that need other services than the given ones, by service."""
    modules = modules_with_tests(root)
    found: dict[str, list[Path]] = {}
    if frozenset[str]().union(*map(declared, modules)) <= services:
        return found
    for path in modules:
        if path.name.startswith("test_"):
            for name in needed(path, root) - services:
                found.setdefault(name, []).append(path)
    return found


@cache
def _imported(module: Path, root: Path) -> list[Path]:
    return list(_relative_and_absolute(module, root))


def _relative_and_absolute(module: Path, root: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = module.parents[node.level - 1]
        elif (node.module or "").partition(".")[0] == "tests":
            base = root
        else:
            continue
        target = base.joinpath(*(node.module or "").split(".")) if node.module else base
        yield target.with_suffix(".py")
        yield from (target / f"{alias.name}.py" for alias in node.names)
