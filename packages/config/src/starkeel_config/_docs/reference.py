"""What the variables of a service mean, read from its settings classes."""

from typing import Any

import msgspec

from .._declare.fields import Group, Leaf, group_of
from .._declare.settings import Settings
from .._read.sources import file_form
from .._show.shown import rendered


class Documented(msgspec.Struct, frozen=True, kw_only=True):
    """One variable, as its documentation tells it.

    Args:
        name: Name of the environment variable.
        description: The string below the field; empty where its author wrote none.
        accepts: What it may be set to.
        default: What stands in for it, as text; None when it is required, empty when it is just absent then.
        development: What stands in for it in development, when that is something else; may be empty, too.
        secret: Whether it must not be shown.
        by_file: The name under which a file that holds it may be given, or None.
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
        key: Which class, and under which prefix; two services that use one class have equal sections.
        title: First sentence of the class's docstring.
        prefix: What the names of its variables begin with, when the class leaves that open.
        variables: The variables, in the order of declaration.
    """

    key: str
    title: str
    prefix: str
    variables: tuple[Documented, ...]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Every variable of one service.

    Args:
        service: Name of the service.
        sections: Its variables by settings class; each variable stands in the first that declares it.
    """

    service: str
    sections: tuple[Section, ...]

    def undocumented(self) -> tuple[str, ...]:
        """The variables without a description."""
        return tuple(
            variable.name
            for section in self.sections
            for variable in section.variables
            if not variable.description
        )


def reference(struct: type[Settings], *, service: str) -> Reference:
    """Read the documentation of a service's variables from its settings class.

    Args:
        struct: The settings class of the service.
        service: Name of the service.

    Raises:
        DeclarationError: When the class is written wrongly.
    """
    tree = group_of(struct)
    leaves = tree.variables()
    sections: dict[str, Section] = {}
    told: set[str] = set()
    for group in tree.walk():
        for leaf in group.leaves:
            if leaf.variable not in told:
                told.add(leaf.variable)
                _add(sections, group, leaf, file_form(leaf.variable, leaves))
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
        default = rendered(leaf.fallback())
    development = leaf.development
    if development is None and leaf.required and leaf.has_fallback:
        development = rendered(leaf.fallback())
    return Documented(
        name=leaf.variable,
        description=description,
        accepts=leaf.kind.accepts,
        default=default,
        development=None if development == default else development,
        secret=leaf.kind.secret,
        by_file=by_file,
    )


def _section(owner: type[Any], key: str, prefix: str) -> Section:
    from inspect import cleandoc

    paragraph = cleandoc(owner.__doc__ or owner.__name__).partition("\n\n")[0]
    title = " ".join(paragraph.split()).partition(". ")[0].removesuffix(".")
    return Section(key=key, title=title, prefix=prefix, variables=())


def _owner(struct: type[Any], field: str) -> type[Any]:
    """The class that declares a field, which may be a base of the one that has it."""
    from inspect import get_annotations

    return next(base for base in struct.__mro__ if field in get_annotations(base))


def _descriptions(owner: type[Any]) -> dict[str, str]:
    """The strings below the fields of a class, by field; none where its source is not at hand."""
    # Imported here: only documentation needs them, and every start would pay.
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
