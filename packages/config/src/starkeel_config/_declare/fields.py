"""The tree of a settings class: which field reads which variable."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from .._errors import DeclarationError, Problem
from .._show.shown import shown
from .kinds import Kind, kind_of
from .settings import Prefix, Settings, Variable

_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")


class Leaf(NamedTuple):
    """A field that is read from a variable."""

    field: str
    owner: type[Settings]
    declared: str
    variable: str
    kind: Kind
    hint: Any
    default: Any
    default_factory: Any
    development: str | None
    service_default: str | None
    required_in_production: bool
    check: Any

    @property
    def has_fallback(self) -> bool:
        """Whether the field has a Python default."""
        return self.default is not msgspec.NODEFAULT or self.default_factory is not msgspec.NODEFAULT

    @property
    def required(self) -> bool:
        """Whether nothing stands in for an absent variable in production."""
        return self.service_default is None and (self.required_in_production or not self.has_fallback)

    def fallback(self) -> Any:
        """The Python default of the field."""
        return self.default if self.default_factory is msgspec.NODEFAULT else self.default_factory()


class Group(NamedTuple):
    """A settings class as it is used: its leaves and the groups inside it, by field."""

    struct: type[Settings]
    prefix: str
    leaves: tuple[Leaf, ...]
    groups: tuple[tuple[str, "Group"], ...]

    def walk(self) -> Iterator["Group"]:
        """This group and every one below it, in the order of declaration."""
        yield self
        for _, group in self.groups:
            yield from group.walk()

    def renamed(self, problem: Problem) -> Problem:
        """A problem of this group's settings, which know their variables without the prefix, with it."""
        full = {leaf.declared: leaf.variable for leaf in self.leaves}
        variable = full.get(problem.variable, problem.variable)
        return Problem(variable, shown(problem.wrong), problem.accepted)

    def variables(self) -> dict[str, Leaf]:
        """The first leaf of every variable, by name, in the order of declaration."""
        found: dict[str, Leaf] = {}
        for group in self.walk():
            for leaf in group.leaves:
                _agree(found.setdefault(leaf.variable, leaf), leaf)
        return found


def group_of(struct: type[Settings], prefix: Prefix | None = None, path: str = "") -> Group:
    """Read a settings class.

    Raises:
        DeclarationError: When it is written wrongly.
    """
    path += f"{prefix.name}_" if prefix else ""
    leaves: list[Leaf] = []
    groups: list[tuple[str, Group]] = []
    for field in msgspec.structs.fields(struct):
        nested = _nested(field.type)
        if nested is None:
            leaves.append(_leaf(struct, field, prefix, path))
        else:
            inner = field.default_factory if isinstance(field.default_factory, Prefix) else None
            groups.append((field.name, group_of(nested, inner, path)))
    for name in prefix.development if prefix else ():
        if name not in {leaf.declared for leaf in leaves}:
            raise DeclarationError(
                f"{struct.__name__} has no variable {name} for which {path}* has a default"
            )
    return Group(struct, path, tuple(leaves), tuple(groups))


def _nested(hint: Any) -> type[Settings] | None:
    return hint if isinstance(hint, type) and issubclass(hint, Settings) else None


def _leaf(struct: type[Settings], field: Any, prefix: Prefix | None, path: str) -> Leaf:
    where = f"{struct.__name__}.{field.name}"
    extras = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    variables = [extra for extra in extras if isinstance(extra, Variable)]
    if len(variables) != 1:
        raise DeclarationError(f"{where} names no variable: give it as Annotated[..., Variable('NAME')]")
    variable = variables[0]
    if not _NAME.fullmatch(path + variable.name):
        raise DeclarationError(f"{where}: {path + variable.name!r} is no name of a variable")
    try:
        kind = kind_of(field.type)
    except DeclarationError as error:
        raise DeclarationError(f"{where}: {error}") from error
    development = variable.development
    if prefix is not None:
        development = prefix.development.get(variable.name, development)
    return Leaf(
        field.name,
        struct,
        variable.name,
        path + variable.name,
        kind,
        _without_variable(field.type),
        field.default,
        field.default_factory,
        development,
        variable.service_default,
        variable.required_in_production,
        variable.check,
    )


def _without_variable(hint: Any) -> Any:
    base, *extras = get_args(hint)
    kept = tuple(extra for extra in extras if not isinstance(extra, Variable))
    return Annotated[(base, *kept)] if kept else base


def _agree(first: Leaf, second: Leaf) -> None:
    """Refuse one variable read in two ways: what it means must not depend on who asks."""
    if first is second:
        return
    for what in ("hint", "default", "development", "service_default", "required_in_production", "check"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            raise DeclarationError(
                f"{first.variable} is declared twice and not alike: {first.owner.__name__}.{first.field} "
                f"has {what} {one!r}, {second.owner.__name__}.{second.field} has {other!r}"
            )
