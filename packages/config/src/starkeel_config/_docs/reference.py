"""Reference documentation of a service's variables, read from its settings classes."""

import ast
from functools import cache
from inspect import cleandoc, get_annotations, getsource
from itertools import pairwise
from textwrap import dedent
from typing import Any

import msgspec

from .._declare.fields import Leaf, group_of
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
        variables = (variable for section in self.sections for variable in section.variables)
        return tuple(variable.name for variable in variables if not variable.description)


def reference(struct: type[Settings], *, service: str) -> Reference:
    """Read the documentation of a service's variables from its settings class.

    Raises:
        DeclarationError: The class is declared incorrectly.
    """
    tree = group_of(struct)
    first = tree.variables()
    sections: dict[str, Section] = {}
    for group in tree.walk():
        for leaf in group.leaves:
            if first[leaf.variable] is leaf:
                owner = next(
                    base for base in group.struct.__mro__ if leaf.field.name in get_annotations(base)
                )
                key = f"{owner.__module__}.{owner.__qualname__} {group.prefix}".strip()
                section = sections.get(key) or Section(
                    key=key, title=_title(owner), prefix=group.prefix, variables=()
                )
                description = _descriptions(owner).get(leaf.field.name, "")
                variable = _documented(leaf, description, file_variable(leaf.variable, first))
                sections[key] = msgspec.structs.replace(section, variables=(*section.variables, variable))
    return Reference(service=service, sections=tuple(sections.values()))


def _documented(leaf: Leaf, description: str, by_file: str | None) -> Documented:
    default, development = leaf.declared.service_default, leaf.declared.development
    if default is None and not leaf.required:
        default = rendered(leaf.default_value())
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


def _title(owner: type[Any]) -> str:
    paragraph = cleandoc(owner.__doc__ or owner.__name__).partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].removesuffix(".")


@cache
def _descriptions(owner: type[Any]) -> dict[str, str]:
    """Return the strings below the fields of a class, by field; empty when its source is unavailable."""
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
