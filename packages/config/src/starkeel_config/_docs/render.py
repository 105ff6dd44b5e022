"""Rendering of references as Markdown page and as `.env` template."""

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import NamedTuple

from .reference import Documented, Reference, Section

_WIDTH = 100
_MARKDOWN_HEAD = """\
# Configuration

<!-- Generated from the settings classes by `just reference`: change those, not this file. -->

Services are configured by environment variables only.
They are read once, when the process starts; all problems are reported together and the process exits with 78.

- An empty or blank variable counts as absent.
- Instead of `X`, `X_FILE` may be set to the path of a file that contains the value.
  This is how mounted secrets are read.
  Trailing line ends are removed; setting both is an error.
  Variables whose own name ends in `_FILE` are paths already.
- In development (`ENVIRONMENT=development`) a `.env` file in the working directory is read as well.
  The environment takes precedence over it, and `ENVIRONMENT` itself is never read from it.
- Placeholder secrets (`changeme`, an example key) are rejected outside development.
- A variable whose name is one edit away from one of these causes a warning at start.
- `{service}` is the name of the service.
"""
_ENV_HEAD = """\
# Generated from the settings classes by `just reference`: change those, not this file.
#
# Copy it to `.env` and uncomment what you want to change. It is read in development only. The environment
# takes precedence; ENVIRONMENT itself must be set in the environment.
# Values are the defaults in development. One NAME=VALUE per line; quote values with a # or a line end.
"""


def render_markdown(references: Sequence[Reference]) -> str:
    """Render `docs/configuration.md`: one table per settings class, with the readers of each variable."""
    sections = [f"## {title}\n\n{_table(variables)}" for title, variables in _merged(references)]
    return "\n".join([_MARKDOWN_HEAD, *sections])


def render_env_example(references: Sequence[Reference]) -> str:
    """Render `.env.example`: every variable with its default in development, commented out."""
    parts = [_ENV_HEAD]
    for title, variables in _merged(references):
        examples = [_example(variable) for variable in variables if variable.first.name != "ENVIRONMENT"]
        parts += [f"# ---- {title} ----\n", *examples] if examples else []
    return "\n".join(parts)


class _Variable(NamedTuple):
    """One variable with its documentation in every service that reads it."""

    by_service: dict[str, Documented]
    readers: str

    @property
    def first(self) -> Documented:
        return next(iter(self.by_service.values()))

    @property
    def description(self) -> str:
        return " ".join(self.first.description.split())

    def describe(self, describe: Callable[[Documented], str]) -> str:
        """Return a description once if it is the same in all services, otherwise one per service."""
        texts: dict[str, list[str]] = {}
        for service, documented in self.by_service.items():
            texts.setdefault(describe(documented), []).append(service)
        if len(texts) == 1:
            return next(iter(texts))
        return "; ".join(f"{text} ({', '.join(services)})" for text, services in texts.items())


def _merged(references: Sequence[Reference]) -> list[tuple[str, list[_Variable]]]:
    """Return the titles of all sections with their variables, each listed where it first occurs."""
    declared = [
        (reference.service, section, variable)
        for reference in references
        for section in reference.sections
        for variable in section.variables
    ]
    by_name: dict[str, dict[str, Documented]] = {}
    for service, _, variable in declared:
        by_name.setdefault(variable.name, {})[service] = variable
    sections: dict[str, tuple[str, list[_Variable]]] = {}
    for _, section, variable in declared:
        if by_service := by_name.pop(variable.name, None):
            is_general = len(by_service) == len(references) > 1
            readers = "all services" if is_general else ", ".join(by_service)
            _, listed = sections.setdefault(section.key, (_title(section), []))
            listed.append(_Variable(by_service, readers))
    return list(sections.values())


def _title(section: Section) -> str:
    return f"{section.title} (`{section.prefix}*`)" if section.prefix else section.title


def _table(variables: list[_Variable]) -> str:
    rows = [["variable", "meaning", "accepted", "default", "read by"], ["---"] * 5]
    rows += [_row(variable) for variable in variables]
    return "".join(f"| {' | '.join(map(_escaped, row))} |\n" for row in rows)


def _row(variable: _Variable) -> list[str]:
    return [
        f"`{variable.first.name}`",
        variable.description,
        variable.describe(lambda documented: documented.accepts),
        variable.describe(_default),
        variable.readers,
    ]


def _default(documented: Documented) -> str:
    production = "required" if documented.default is None else _code(documented.default)
    if documented.development is None:
        return production
    return f"{production}; in development {_code(documented.development)}"


def _code(value: str) -> str:
    return f"`{value}`" if value else "none"


def _escaped(text: str) -> str:
    # Outside backticks a < would start a tag.
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _example(variable: _Variable) -> str:
    notes = f"Accepted: {variable.describe(lambda each: each.accepts)}. Read by {variable.readers}."
    default = variable.describe(_example_value)
    # A value that differs between services cannot be in a file that several of them read.
    values = {_example_value(each) for each in variable.by_service.values()}
    is_shared = len(values) == 1 and "{service}" not in default
    if not is_shared:
        notes += f" Default: {default}."
    comment = [f"# {line}" for text in (variable.description, notes) for line in wrap(text, _WIDTH)]
    return "\n".join([*comment, f"#{variable.first.name}={_quoted(default) if is_shared else ''}\n"])


def _example_value(documented: Documented) -> str:
    return documented.default or "" if documented.development is None else documented.development


def _quoted(value: str) -> str:
    if all(character.isalnum() or character in "_-./:,@=+*%[]()?&" for character in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
