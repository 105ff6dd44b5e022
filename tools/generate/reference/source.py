"""The source of packages and services as syntax trees, and tables of Markdown."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

_TITLES: Final = {"packages": "starkeel-{}", "services": "{}"}


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield the distribution and the tree of each module of packages and services, sorted.

    The testing kit is left out, as it runs in no service.
    """
    for kind, title in _TITLES.items():
        for path in sorted(root.glob(f"{kind}/*/src/**/*.py")):
            name = path.relative_to(root / kind).parts[0]
            if name != "testing" and "migrations" not in path.parts:
                yield title.format(name), tree(path)


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def nodes(module: ast.Module) -> tuple[ast.AST, ...]:
    """Return all nodes of a module, in the order of `ast.walk`: each page reads them."""
    return tuple(ast.walk(module))


def called(node: ast.AST) -> str:
    """Return the name of the called function, without what it is an attribute of; empty for others."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def text(node: ast.AST | None, names: Mapping[str, str] | None = None) -> str | None:
    """Return the value of a string, in which names may have values; `None` for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return (names or {}).get(node.id)
    if isinstance(node, ast.JoinedStr):
        parts = [
            text(part.value if isinstance(part, ast.FormattedValue) else part, names) for part in node.values
        ]
        return None if None in parts else "".join(part for part in parts if part is not None)
    return None


def constants(module: ast.Module) -> dict[str, str]:
    """Return the strings that are assigned to names at the top of a module."""
    found = {}
    for node in module.body:
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and (assigned := text(value)) is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                found[target.id] = assigned
    return found


def described(names: Iterable[str], descriptions: Mapping[str, str], where: str) -> None:
    """Check that every name has a description, and each description a name.

    Raises:
        SystemExit: A description is missing or left over.
    """
    given = set(names)
    if missing := sorted(given - descriptions.keys()):
        raise SystemExit(f"{where}: describe {', '.join(missing)}")
    if stale := sorted(descriptions.keys() - given):
        raise SystemExit(f"{where}: remove {', '.join(stale)}, which the source no longer has")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(name: str) -> str:
    """Return a name as code."""
    return f"`{name}`"
