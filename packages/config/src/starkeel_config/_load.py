"""From the environment to settings, every problem at once."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, get_args

import msgspec

from ._errors import ConfigurationError, Problem
from ._fields import Group, Leaf, group_of
from ._settings import Environment, Settings

T = TypeVar("T", bound=Settings)


class Entry(msgspec.Struct, frozen=True):
    """One effective setting, fit to be shown: a secret's value is `***`, an absent one's empty.

    Args:
        variable: Name of the environment variable.
        value: What it is, as text.
        source: `environment`, `file PATH`, `.env`, `default` or `development default`.
    """

    variable: str
    value: str
    source: str


class Resolved(msgspec.Struct, Generic[T], frozen=True):
    """Settings, and how they came about."""

    settings: T
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]


def load(struct: type[T], environ: Mapping[str, str], *, service: str) -> T:
    """Read settings from the environment."""
    return resolve(struct, environ, service=service).settings


def resolve(struct: type[T], environ: Mapping[str, str], *, service: str) -> Resolved[T]:
    """Read settings from the environment, and tell where each came from."""
    tree = group_of(struct)
    reading = _Reading(environ, service)
    for leaf in tree.variables().values():
        reading.read(leaf)
    settings = reading.build(tree)
    if reading.problems:
        raise ConfigurationError(service, reading.problems)
    return Resolved(settings, tuple(reading.entries), ())


class _Reading:
    def __init__(self, environ: Mapping[str, str], service: str) -> None:
        self.environ = environ
        self.service = service
        named = environ.get("ENVIRONMENT", "").strip().lower()
        self.environment: Environment = "development" if named == "development" else "production"
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.entries: list[Entry] = []

    def read(self, leaf: Leaf) -> None:
        text = self.environ.get(leaf.variable, "")
        source = "environment"
        if not text.strip():
            standing_in = leaf.service_default
            if self.environment == "development" and leaf.development is not None:
                standing_in, source = leaf.development, "development default"
            else:
                source = "default"
            if standing_in is None:
                if leaf.required:
                    self.problems.append(Problem(leaf.variable, "is not set", leaf.kind.accepts))
                    return
                self.values[leaf.variable] = leaf.fallback()
                self.entries.append(Entry(leaf.variable, str(leaf.fallback()), source))
                return
            text = standing_in.replace("{service}", self.service)
        try:
            self.values[leaf.variable] = leaf.kind.parse(text)
        except ValueError as error:
            self.problems.append(Problem(leaf.variable, f"is {text!r} {error}".strip(), leaf.kind.accepts))
            return
        self.entries.append(Entry(leaf.variable, "***" if leaf.kind.secret else text, source))

    def build(self, group: Group) -> Any:
        values = {name: self.build(inner) for name, inner in group.groups}
        for leaf in group.leaves:
            if leaf.variable in self.values:
                values[leaf.field] = self.values[leaf.variable]
        if len(values) < len(group.groups) + len(group.leaves) or any(v is None and k in dict(group.groups) for k, v in values.items()):
            return None
        settings = group.struct(**values)
        self.problems.extend(settings.problems(self.environment))
        return settings
