"""Tree of a settings class: the variable that each field is read from."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from .._errors import DeclarationError, Problem
from .._show.display import masked
from .field_types import FieldType, field_type_of
from .settings import Prefix, Settings, Variable

_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")


class Leaf(NamedTuple):
    """A field that is read from a variable. `declared` is the variable's name without the prefix."""

    field: str
    owner: type[Settings]
    declared: str
    variable: str
    type: FieldType
    hint: Any
    default: Any
    default_factory: Any
    development: str | None
    service_default: str | None
    required_in_production: bool
    check: Any

    @property
    def has_default(self) -> bool:
        """Whether the field has a Python default."""
        return self.default is not msgspec.NODEFAULT or self.default_factory is not msgspec.NODEFAULT

    @property
    def required(self) -> bool:
        """Whether the variable must be set in production."""
        return self.service_default is None and (self.required_in_production or not self.has_default)

    def default_value(self) -> Any:
        """Return the Python default of the field."""
        return self.default if self.default_factory is msgspec.NODEFAULT else self.default_factory()


class Group(NamedTuple):
    """A settings class with its prefix, its leaves, and its nested groups by field."""

    struct: type[Settings]
    prefix: str
    leaves: tuple[Leaf, ...]
    groups: tuple[tuple[str, "Group"], ...]

    def walk(self) -> Iterator["Group"]:
        """Yield this group and all nested groups in declaration order."""
        yield self
        for _, group in self.groups:
            yield from group.walk()

    def with_prefix(self, problem: Problem) -> Problem:
        """Add the prefix to the variable of a problem that `Settings.problems` returned, and mask it."""
        full = {leaf.declared: leaf.variable for leaf in self.leaves}
        variable = full.get(problem.variable, problem.variable)
        return Problem(variable, masked(problem.wrong), problem.accepted)

    def variables(self) -> dict[str, Leaf]:
        """Return the first leaf of every variable, by name, in declaration order."""
        found: dict[str, Leaf] = {}
        for group in self.walk():
            for leaf in group.leaves:
                _check_same_declaration(found.setdefault(leaf.variable, leaf), leaf)
        return found


def group_of(struct: type[Settings], prefix: Prefix | None = None, path: str = "") -> Group:
    """Return the tree of a settings class.

    Raises:
        DeclarationError: The class is declared incorrectly.
    """
    path += f"{prefix.name}_" if prefix else ""
    leaves: list[Leaf] = []
    groups: list[tuple[str, Group]] = []
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Settings):
            inner = field.default_factory if isinstance(field.default_factory, Prefix) else None
            groups.append((field.name, group_of(field.type, inner, path)))
        else:
            leaves.append(_leaf(struct, field, prefix, path))
    for name in prefix.development if prefix else ():
        if name not in {leaf.declared for leaf in leaves}:
            raise DeclarationError(
                f"{struct.__name__} does not declare {name}, but {path}* has a development default for it"
            )
    return Group(struct, path, tuple(leaves), tuple(groups))


def _leaf(struct: type[Settings], field: Any, prefix: Prefix | None, path: str) -> Leaf:
    where = f"{struct.__name__}.{field.name}"
    extras = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    variables = [extra for extra in extras if isinstance(extra, Variable)]
    if len(variables) != 1:
        raise DeclarationError(
            f"{where} must name exactly one variable: declare it as Annotated[..., Variable('NAME')]"
        )
    variable = variables[0]
    if not _NAME.fullmatch(path + variable.name):
        raise DeclarationError(f"{where}: {path + variable.name!r} is not a valid variable name")
    try:
        field_type = field_type_of(field.type)
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
        field_type,
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


def _check_same_declaration(first: Leaf, second: Leaf) -> None:
    if first is second:
        return
    for attribute in ("hint", "default", "development", "service_default", "required_in_production", "check"):
        one, other = getattr(first, attribute), getattr(second, attribute)
        if one != other:
            raise DeclarationError(
                f"{first.variable} is declared twice with different {attribute}: "
                f"{first.owner.__name__}.{first.field} has {one!r}, "
                f"{second.owner.__name__}.{second.field} has {other!r}"
            )
