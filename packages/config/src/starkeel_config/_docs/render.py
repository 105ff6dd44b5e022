"""The reference of a fleet's variables as files: a page for people, a `.env` to start from."""

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from .reference import Documented, Reference, Section

_WIDTH = 100
_MARKDOWN_HEAD = """\
# Configuration

<!-- Generated from the settings classes by `just reference`: change those, not this file. -->

Services are configured by environment variables only.
They are read once, when the process starts; every problem is reported at once and the process exits with 78.

- An empty or blank variable counts as absent.
- Any variable `X` may be given as `X_FILE` instead: the path of a file that holds its value.
  That is how mounted secrets are read.
  A line end at the end of the file is dropped; giving both is an error.
  Variables whose own name ends in `_FILE` are paths already.
- In development (`ENVIRONMENT=development`) a `.env` file in the working directory is read as well.
  The environment wins over it, and `ENVIRONMENT` itself is never taken from it.
- Secrets that are placeholders (`changeme`, an example key) are refused outside development.
- A variable one edit away from one of these is warned about at start.
- `{service}` stands for the name of the service.
"""
_ENV_HEAD = """\
# Generated from the settings classes by `just reference`: change those, not this file.
#
# Copy it to `.env` and uncomment what you want to change. It is read in development only, and the
# environment wins over it; ENVIRONMENT itself must stand in the environment.
# Values are the defaults in development. One NAME=VALUE a line; quote what has a # or a line end in it.
"""


def render_markdown(references: Sequence[Reference]) -> str:
    """The page `docs/configuration.md`: one table for each settings class, with who reads each variable.

    Args:
        references: Those of every service of the fleet, in the order to name them.
    """
    sections = [f"## {section.title}\n\n{_table(section)}" for section in _merged(references)]
    return "\n".join([_MARKDOWN_HEAD, *sections])


def render_env_example(references: Sequence[Reference]) -> str:
    """The file `.env.example`: every variable with its default in development, all commented out.

    Args:
        references: Those of every service of the fleet, in the order to name them.
    """
    parts = [_ENV_HEAD]
    for section in _merged(references):
        examples = [_example(variable) for variable in section.variables if variable.name != "ENVIRONMENT"]
        parts += [f"# ---- {section.title} ----\n", *examples] if examples else []
    return "\n".join(parts)


class _Variable(NamedTuple):
    """One variable, as every service that reads it declares it."""

    by_service: dict[str, Documented]
    everywhere: bool

    @property
    def name(self) -> str:
        return self.one.name

    @property
    def one(self) -> Documented:
        return next(iter(self.by_service.values()))

    @property
    def readers(self) -> str:
        return "all services" if self.everywhere else ", ".join(self.by_service)

    def told(self, tell: Callable[[Documented], str]) -> str:
        """What is told of it: once when all services agree, else by service."""
        texts: dict[str, list[str]] = {}
        for service, documented in self.by_service.items():
            texts.setdefault(tell(documented), []).append(service)
        if len(texts) == 1:
            return next(iter(texts))
        return "; ".join(f"{text} ({', '.join(services)})" for text, services in texts.items())


class _Merged(NamedTuple):
    title: str
    variables: list[_Variable]


def _merged(references: Sequence[Reference]) -> list[_Merged]:
    """The sections of all services, each class and each variable once, where it comes first."""
    readers: dict[str, dict[str, Documented]] = {}
    for reference, _, variable in _declared(references):
        readers.setdefault(variable.name, {})[reference.service] = variable
    sections: dict[str, _Merged] = {}
    told: set[str] = set()
    for _, section, variable in _declared(references):
        if variable.name not in told:
            told.add(variable.name)
            by_service = readers[variable.name]
            everywhere = len(by_service) == len(references) > 1
            empty = _Merged(_title(section), [])
            sections.setdefault(section.key, empty).variables.append(_Variable(by_service, everywhere))
    return list(sections.values())


def _declared(references: Sequence[Reference]) -> Iterator[tuple[Reference, Section, Documented]]:
    for reference in references:
        for section in reference.sections:
            for variable in section.variables:
                yield reference, section, variable


def _title(section: Section) -> str:
    return f"{section.title} (`{section.prefix}*`)" if section.prefix else section.title


def _table(section: _Merged) -> str:
    rows = [["variable", "meaning", "accepted", "default", "read by"], ["---"] * 5]
    rows += [_row(variable) for variable in section.variables]
    return "".join(f"| {' | '.join(map(_escaped, row))} |\n" for row in rows)


def _row(variable: _Variable) -> list[str]:
    return [
        f"`{variable.name}`",
        " ".join(variable.one.description.split()),
        variable.told(lambda documented: documented.accepts),
        variable.told(_default),
        variable.readers,
    ]


def _default(documented: Documented) -> str:
    if documented.default is None:
        production = "required"
    else:
        production = f"`{documented.default}`" if documented.default else "none"
    if documented.development is None:
        return production
    development = f"`{documented.development}`" if documented.development else "none"
    return f"{production}; in development {development}"


def _escaped(text: str) -> str:
    # Inside backticks a < is shown as it is, outside it would begin a tag.
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _example(variable: _Variable) -> str:
    documented = variable.one
    description = " ".join(documented.description.split())
    notes = f"Accepted: {variable.told(lambda one: one.accepts)}. Read by {variable.readers}."
    default = variable.told(_example_value)
    # What depends on the service cannot stand in a file that several of them read.
    agreed = (
        "{service}" not in default and len({_example_value(one) for one in variable.by_service.values()}) == 1
    )
    if not agreed:
        notes += f" Default: {default}."
    comment = [f"# {line}" for told in (description, notes) for line in wrap(told, _WIDTH)]
    return "\n".join([*comment, f"#{variable.name}={_quoted(default) if agreed else ''}\n"])


def _example_value(documented: Documented) -> str:
    return documented.default or "" if documented.development is None else documented.development


def _quoted(value: str) -> str:
    if all(character.isalnum() or character in "_-./:,@=+*%[]()?&" for character in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
