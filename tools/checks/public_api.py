"""Check that the packages break no code that uses the released ones, unless a fragment describes it.

python -m tools.checks.public_api              exit with 1 for a breaking change that no fragment names
python -m tools.checks.public_api --release    make the current snapshots the released ones

`packages/NAME/api.txt` is compared with `api.released.txt`; a package without the latter was never released.
Types of annotations are not compared: the difference of `api.txt` shows them to a reviewer.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..registry import ROOT

_LINE = re.compile(r"(?P<kind>[a-z ]+) (?P<path>[A-Za-z_][\w.]*)(?P<rest>.*)").fullmatch
_CLASSES = ("class", "dataclass")


class Name(NamedTuple):
    """A line of a snapshot."""

    kind: str
    rest: str


class Change(NamedTuple):
    """A breaking change of a public name."""

    path: str
    problem: str


def main() -> int:
    """Print the breaking changes that no fragment describes; return 1 if there are any."""
    given = _options()
    described = "\n".join(path.read_text("utf-8") for path in given.root.glob("changes/*.breaking.md"))
    is_allowed = True
    for path in sorted(given.root.glob("packages/*/api.txt")):
        released = path.with_name("api.released.txt")
        if released.exists():
            for change in breaking_changes(released.read_text("utf-8"), path.read_text("utf-8")):
                if f"`{change.path}`" not in described:
                    is_allowed = False
                    sys.stderr.write(
                        f"{path.relative_to(given.root)}: {change.path}: {change.problem}: keep it, or write"
                        f" changes/NAME.breaking.md with `{change.path}` and what to do\n"
                    )
    if is_allowed and given.release:
        for path in given.root.glob("packages/*/api.txt"):
            path.with_name("api.released.txt").write_bytes(path.read_bytes())
    return 0 if is_allowed else 1


def breaking_changes(old: str, new: str) -> Iterator[Change]:
    """Yield what code that uses the old names cannot rely on."""
    before, after = _names(old), _names(new)
    for path, name in before.items():
        parent = path.rpartition(".")[0]
        if path not in after:
            # A removed class is one change, not one for each of its members; a renamed one keeps them.
            if parent not in before or (parent in after and after[parent].kind != "deprecated"):
                yield Change(path, "is removed")
        elif problem := next(_name_changes(name, after[path]), None):
            yield Change(path, problem)
    for path, name in after.items():
        owner = before.get(path.rpartition(".")[0])
        if path in before or owner is None:
            continue
        is_required = name.kind == "field" and " = " not in name.rest
        if is_required and ("Struct" in owner.rest or "=True" in owner.rest):
            yield Change(path, "is a new field without a default")
        elif "Protocol" in owner.rest:
            yield Change(path, "is new in a protocol, and its implementations lack it")


def _names(snapshot: str) -> dict[str, Name]:
    lines = [line for line in snapshot.splitlines() if line and not line.startswith("#")]
    found = [match for match in map(_LINE, lines) if match is not None]
    if len(found) != len(lines):
        raise ValueError("a line of the snapshot is not `KIND NAME...`: run `just api`")
    return {match["path"]: Name(match["kind"], match["rest"]) for match in found}


def _name_changes(old: Name, new: Name) -> Iterator[str]:
    kinds = {old.kind, new.kind}
    if len(kinds) == 2 and not kinds <= {*_CLASSES} and not kinds <= {"field", "property"}:
        if old.kind != "deprecated" and new.kind != "deprecated":
            yield f"is now `{new.kind}`, not `{old.kind}`"
    elif old.kind.endswith("def"):
        yield from _parameter_changes(_arguments(old.rest), _arguments(new.rest))
    elif old.kind in _CLASSES:
        for base in sorted(_bases(old.rest) - _bases(new.rest)):
            yield f"no longer inherits from {base}"
    elif old.kind == "field" and " = " in old.rest and " = " not in new.rest and ": " in new.rest:
        yield "no longer has a default"


def _bases(rest: str) -> set[str]:
    call = ast.parse(f"f{rest}", mode="eval").body
    assert isinstance(call, ast.Call)
    bases = {ast.unparse(base) for base in call.args}
    return {base for base in bases if not base.rpartition(".")[2].startswith("_")}


def _arguments(rest: str) -> ast.arguments:
    function = ast.parse(f"def f{rest}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return function.args


def _parameter_changes(old: ast.arguments, new: ast.arguments) -> Iterator[str]:
    yield from _positional_changes(old, new)
    for name in _keywords(old):
        if name not in _keywords(new) and new.kwarg is None:
            yield f"parameter `{name}` is removed, or no longer accepted by name"
    for name in _required(new):
        counterpart = _counterpart(name, old, new)
        if counterpart is None:
            yield f"parameter `{name}` is new and required"
        elif counterpart not in _required(old):
            yield f"parameter `{name}` no longer has a default"
    for kind, before, after in (("*", old.vararg, new.vararg), ("**", old.kwarg, new.kwarg)):
        if before is not None and after is None:
            yield f"`{kind}{before.arg}` is removed"


def _positional_changes(old: ast.arguments, new: ast.arguments) -> Iterator[str]:
    before, after = _positional(old), _positional(new)
    accepted = len(before) if new.vararg is not None else len(after)
    for position, name in enumerate(before[:accepted]):
        if position < len(after) and after[position] != name and name not in _positional_only(old):
            yield f"parameter {position + 1} is `{after[position]}`, not `{name}`"
    for name in before[accepted:]:
        yield f"parameter `{name}` is removed, or no longer accepted by position"


def _counterpart(name: str, old: ast.arguments, new: ast.arguments) -> str | None:
    """Return the old parameter whose argument a new parameter gets."""
    position = _positional(new).index(name) if name in _positional_only(new) else len(_positional(old))
    if position < len(_positional(old)):
        return _positional(old)[position]
    return name if name in [*_positional(old), *_keywords(old)] else None


def _positional(arguments: ast.arguments) -> list[str]:
    return [each.arg for each in [*arguments.posonlyargs, *arguments.args]]


def _positional_only(arguments: ast.arguments) -> list[str]:
    return [each.arg for each in arguments.posonlyargs]


def _keywords(arguments: ast.arguments) -> list[str]:
    return [each.arg for each in [*arguments.args, *arguments.kwonlyargs]]


def _required(arguments: ast.arguments) -> list[str]:
    positional = _positional(arguments)
    defaults: Sequence[ast.expr | None] = arguments.kw_defaults
    named = [
        each.arg for each, default in zip(arguments.kwonlyargs, defaults, strict=True) if default is None
    ]
    return [*positional[: len(positional) - len(arguments.defaults)], *named]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", action="store_true", help="replace the released snapshots")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
