"""Reference documentation of a service's variables, read from its settings classes."""

from typing import Any

import msgspec

from .._declare.fields import Group, Leaf, group_of
from .._declare.settings import Settings
from .._read.sources import file_variable
from .._show.display import rendered


class Documented(msgspec.Struct, frozen=True, kw_only=True):
    """Documentation of one variable.

    Args:
        description: The string below the field; may be empty.
        accepts: Accepted values.
        default: Default as text; None when the variable is required, empty when the default is no value.
        development: Default in development when it differs; may be empty.
        by_file: Name of the variable that may name a file with the value, or None.
    """

    name: str
    description: str
    accepts: str
    default: str | None
    development: str | None
    secret: bool
    by_file: str | None


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The variables that one settings class declares.

    Args:
        key: Identifies class and prefix; services that share a class have sections with equal keys.
        title: First sentence of the class docstring.
        prefix: Prefix of the variables, including the underscore; may be empty.
    """

    key: str
    title: str
    prefix: str
    variables: tuple[Documented, ...]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """All variables of one service, by settings class; each is listed in the first that declares it."""

    service: str
    sections: tuple[Section, ...]

    def undocumented(self) -> tuple[str, ...]:
        """Return the variables without a description."""
        return tuple(
            variable.name
            for section in self.sections
            for variable in section.variables
            if not variable.description
        )


def reference(struct: type[Settings], *, service: str) -> Reference:
    """Read the documentation of a service's variables from its settings class.

    Raises:
        DeclarationError: The class is declared incorrectly.
    """
    tree = group_of(struct)
    leaves = tree.variables()
    sections: dict[str, Section] = {}
    documented: set[str] = set()
    for group in tree.walk():
        for leaf in group.leaves:
            if leaf.variable not in documented:
                documented.add(leaf.variable)
                _add(sections, group, leaf, file_variable(leaf.variable, leaves))
    return Reference(service=service, sections=tuple(sections.values()))


def _add(sections: dict[str, Section], group: Group, leaf: Leaf, by_file: str | None) -> None:
    owner = _owner(group.struct, leaf.field)
    key = f"{owner.__module__}.{owner.__qualname__} {group.prefix}".strip()
    section = sections.get(key) or _section(owner, key, group.prefix)
    variable = _documented(leaf, _descriptions(owner).get(leaf.field, ""), by_file)
    sections[key] = msgspec.structs.replace(section, variables=(*section.variables, variable))


def _documented(leaf: Leaf, description: str, by_file: str | None) -> Documented:
    default = leaf.service_default
    if default is None and not leaf.required:
        default = rendered(leaf.default_value())
    development = leaf.development
    if development is None and leaf.required and leaf.has_default:
        development = rendered(leaf.default_value())
    return Documented(
        name=leaf.variable,
        description=description,
        accepts=leaf.type.accepts,
        default=default,
        development=None if development == default else development,
        secret=leaf.type.secret,
        by_file=by_file,
    )


def _section(owner: type[Any], key: str, prefix: str) -> Section:
    from inspect import cleandoc

    paragraph = cleandoc(owner.__doc__ or owner.__name__).partition("\n\n")[0]
    title = " ".join(paragraph.split()).partition(". ")[0].removesuffix(".")
    return Section(key=key, title=title, prefix=prefix, variables=())


def _owner(struct: type[Any], field: str) -> type[Any]:
    """Return the class that declares a field: `struct` or one of its bases."""
    from inspect import get_annotations

    return next(base for base in struct.__mro__ if field in get_annotations(base))


def _descriptions(owner: type[Any]) -> dict[str, str]:
    """Return the strings below the fields of a class, by field; empty when its source is unavailable."""
    import ast
    from inspect import cleandoc, getsource
    from itertools import pairwise
    from textwrap import dedent

    try:
        (definition,) = ast.parse(dedent(getsource(owner))).body
    except OSError:
        return {}
    found = {}
    for field, string in pairwise(getattr(definition, "body", [])):
        match field, string:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = cleandoc(text)
    return found
