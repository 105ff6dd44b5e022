"""Tree of a settings class: the variable that each field is read from."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from .._errors import DeclarationError, Problem
from .._show.display import masked
from .field_types import FieldType, field_type_of
from .settings import Prefix, Settings, Variable

_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")


class Leaf(NamedTuple):
    """A field that is read from a variable.

    `declared` is the field's `Variable` with the development default that applies; its name lacks the prefix.
    """

    owner: type[Settings]
    field: FieldInfo
    variable: str
    declared: Variable
    type: FieldType

    @property
    def has_default(self) -> bool:
        """Whether the field has a Python default."""
        return not self.field.required

    @property
    def required(self) -> bool:
        """Whether the variable must be set in production."""
        declared = self.declared
        return declared.service_default is None and (declared.required_in_production or self.field.required)

    def default_value(self) -> Any:
        """Return the Python default of the field."""
        factory: Any = self.field.default_factory
        return self.field.default if factory is msgspec.NODEFAULT else factory()


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
        full = {leaf.declared.name: leaf.variable for leaf in self.leaves}
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
        if name not in {leaf.declared.name for leaf in leaves}:
            raise DeclarationError(
                f"{struct.__name__} does not declare {name}, but {path}* has a development default for it"
            )
    return Group(struct, path, tuple(leaves), tuple(groups))


def _leaf(struct: type[Settings], field: FieldInfo, prefix: Prefix | None, path: str) -> Leaf:
    where = f"{struct.__name__}.{field.name}"
    extras = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    variables = [extra for extra in extras if isinstance(extra, Variable)]
    if len(variables) != 1:
        raise DeclarationError(
            f"{where} must name exactly one variable: declare it as Annotated[..., Variable('NAME')]"
        )
    declared = variables[0]
    variable = path + declared.name
    if not _NAME.fullmatch(variable):
        raise DeclarationError(f"{where}: {variable!r} is not a valid variable name")
    if prefix is not None and declared.name in prefix.development:
        declared = msgspec.structs.replace(declared, development=prefix.development[declared.name])
    try:
        return Leaf(struct, field, variable, declared, field_type_of(field.type))
    except DeclarationError as error:
        raise DeclarationError(f"{where}: {error}") from error


def _check_same_declaration(first: Leaf, second: Leaf) -> None:
    for (attribute, one), other in zip(
        _declaration(first).items(), _declaration(second).values(), strict=True
    ):
        if one != other:
            raise DeclarationError(
                f"{first.variable} is declared twice with different {attribute}: "
                f"{first.owner.__name__}.{first.field.name} has {one!r}, "
                f"{second.owner.__name__}.{second.field.name} has {other!r}"
            )


def _declaration(leaf: Leaf) -> dict[str, Any]:
    base, *extras = get_args(leaf.field.type)
    kept = tuple(extra for extra in extras if not isinstance(extra, Variable))
    declared = msgspec.structs.asdict(leaf.declared)
    del declared["name"]
    return {"hint": Annotated[(base, *kept)] if kept else base, "default": leaf.field.default, **declared}
