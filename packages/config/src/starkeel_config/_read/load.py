"""From the environment to settings, every problem at once."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from .._declare.fields import Group, Leaf, group_of
from .._declare.settings import Environment, ServiceSettings, Settings
from .._errors import ConfigurationError, Problem
from .._show.secret import Secret
from .._show.shown import quoted, rendered, shown
from .near_misses import near_misses
from .placeholders import ACCEPTED, placeholder
from .sources import Found, Sources, file_form

S = TypeVar("S", bound=Settings)


class Entry(msgspec.Struct, frozen=True):
    """One effective setting, fit to be shown: a secret's value is `***`, an absent one's is empty.

    Args:
        variable: Name of the environment variable.
        value: What it is, as text; credentials in URLs are hidden in values that are no secrets, too.
        source: `environment`, `file PATH`, `.env`, `default` or `development default`.
    """

    variable: str
    value: str
    source: str


class Resolved(msgspec.Struct, Generic[S], frozen=True):
    """Settings and how they came about.

    Args:
        settings: The settings.
        entries: Every variable that makes them, in the order of declaration.
        warnings: One line for each variable that looks like a misspelt one of ours, and one for all those
            that somebody would expect to be read and nothing reads.
        texts: Text of every variable that is set, by environment, file or `.env`.
    """

    settings: S
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]
    texts: dict[str, Secret] = {}

    def snapshot(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment that gives the same settings without reading any file.

        Args:
            environ: The environment the settings were read from; other variables are taken from it.
        """
        variables = {entry.variable for entry in self.entries}
        files = {file_form(variable, variables) for variable in self.texts}
        others = {name: text for name, text in environ.items() if name not in files}
        return others | {variable: text.reveal() for variable, text in self.texts.items()}


def load(struct: type[S], environ: Mapping[str, str], *, service: str, dotenv: Path = Path(".env")) -> S:
    """Read settings from the environment, once, when the process starts.

    Args:
        struct: The settings class; a service's own or any group of settings.
        environ: The environment, `os.environ` in a real process.
        service: Name of the service, for `{service}` in declared texts and for messages.
        dotenv: File of further variables, read when `ENVIRONMENT` is `development` and it exists.

    Raises:
        ConfigurationError: When anything is missing or wrong; it tells every problem.
        DeclarationError: When the class itself is written wrongly.
    """
    return resolve(struct, environ, service=service, dotenv=dotenv).settings


def resolve(
    struct: type[S], environ: Mapping[str, str], *, service: str, dotenv: Path = Path(".env")
) -> Resolved[S]:
    """Read settings as `load` does, and tell where each value came from and what looks misspelt."""
    tree = group_of(struct)
    reading = _Reading(tree.variables(), Sources(environ), service)
    reading.settle_environment(dotenv)
    entries = tuple(reading.entries())
    settings = reading.build(tree)
    warnings = (*reading.warnings(), *reading.unread(tree))
    if reading.problems:
        raise ConfigurationError(service, list(reading.problems), warnings)
    return Resolved(cast("S", settings), entries, warnings, reading.texts)


class _Reading:
    """One pass over the variables of a settings class."""

    def __init__(self, leaves: Mapping[str, Leaf], sources: Sources, service: str) -> None:
        self._leaves = leaves
        self._sources = sources
        self._service = service
        self._environment: Environment = "production"
        self._values: dict[str, Any] = {}
        self.texts: dict[str, Secret] = {}
        # A dictionary for its order and because two groups may find the same.
        self.problems: dict[Problem, None] = {}

    def settle_environment(self, dotenv: Path) -> None:
        """Find out where the service runs, which everything else depends on."""
        leaf = group_of(ServiceSettings).variables()["ENVIRONMENT"]
        found = self._sources.find(leaf, self._leaves)
        # What is wrong is treated as production, the stricter of the two.
        if isinstance(found, Problem):
            self._report([found])
        elif found is not None:
            self._environment = self._parsed(leaf, found) or "production"
        if self._environment == "development":
            self._report(self._sources.open_dotenv(dotenv))

    def entries(self) -> Iterator[Entry]:
        """Read every variable; what is effective is told, what is wrong goes to `problems`."""
        for leaf in self._leaves.values():
            found = self._sources.find(leaf, self._leaves)
            if isinstance(found, Found):
                self.texts[leaf.variable] = Secret(found.text)
            found = found or self._standing_in(leaf)
            if isinstance(found, Problem):
                self._report([found])
            elif found is None and self._is_missed(leaf):
                self._report([self._missing(leaf)])
            else:
                yield from self._entry(leaf, found)

    def _entry(self, leaf: Leaf, found: Found | None) -> Iterator[Entry]:
        value = leaf.fallback() if found is None else self._parsed(leaf, found)
        if found is not None and value is None:
            return
        self._values[leaf.variable] = value
        self._report(self._refusals(leaf, value))
        self._report(self._placeholders(leaf, value))
        text, source = (None, "default") if found is None else (found.text, found.source)
        yield Entry(leaf.variable, rendered(value, text), source)

    def _standing_in(self, leaf: Leaf) -> Found | None:
        text, source = leaf.service_default, "default"
        if self._environment == "development" and leaf.development is not None:
            text, source = leaf.development, "development default"
        return None if text is None else Found(text.replace("{service}", self._service), source)

    def _is_missed(self, leaf: Leaf) -> bool:
        return leaf.required and not (leaf.has_fallback and self._environment == "development")

    def _missing(self, leaf: Leaf) -> Problem:
        by_file = file_form(leaf.variable, self._leaves)
        wrong = f"is not set, nor is {by_file}" if by_file and leaf.kind.secret else "is not set"
        if leaf.development is not None or leaf.has_fallback:
            wrong += " (only development has a default)"
        return Problem(leaf.variable, wrong, leaf.kind.accepts)

    def _parsed(self, leaf: Leaf, found: Found) -> Any:
        """The value, never None; None when it is wrong."""
        try:
            return leaf.kind.parse(found.text)
        except ValueError as error:
            if leaf.kind.secret or found.from_file:
                place = f" (from {found.source})" if found.from_file else ""
                wrong = f"is set to something that is not accepted{place}"
            else:
                wrong = f"is {quoted(found.text)}" + (f": {shown(str(error))}" if str(error) else "")
            self._report([Problem(leaf.variable, wrong, leaf.kind.accepts)])
            return None

    def _refusals(self, leaf: Leaf, value: object) -> Iterator[Problem]:
        if leaf.check is None or value is None:
            return
        try:
            leaf.check(value)
        except ValueError as error:
            yield Problem(leaf.variable, str(error), leaf.kind.accepts)

    def _placeholders(self, leaf: Leaf, value: object) -> Iterator[Problem]:
        if self._environment == "development" or not leaf.kind.secret:
            return
        for secret in value if isinstance(value, tuple) else (value,):
            wrong = placeholder(secret) if isinstance(secret, Secret) else None
            if wrong is not None:
                yield Problem(leaf.variable, wrong, ACCEPTED)

    def build(self, group: Group) -> Settings | None:
        """The settings of a group, checked together; None when something in it is missing."""
        values: dict[str, Any] = {name: self.build(inner) for name, inner in group.groups}
        complete = all(value is not None for value in values.values())
        for leaf in group.leaves:
            complete = complete and leaf.variable in self._values
            values[leaf.field] = self._values.get(leaf.variable)
        if not complete:
            return None
        settings = group.struct(**values)
        self._report(group.renamed(problem) for problem in settings.problems(self._environment))
        return settings

    def warnings(self) -> tuple[str, ...]:
        """What looks misspelt."""
        known, meant = set(self._leaves), set(self._leaves)
        for leaf in self._leaves.values():
            by_file = file_form(leaf.variable, self._leaves)
            if by_file is not None:
                known.add(by_file)
                # Only secrets are usually given by file; HOSTFILE is MPI's, not a misspelt HOST_FILE.
                meant.update([by_file] if leaf.kind.secret else [])
        return tuple(near_misses(self._sources.names(), known, meant))

    def unread(self, tree: Group) -> Iterator[str]:
        """What is set, expected to do something, and read by nothing; told all at once."""
        names = self._sources.names()
        found = {name for group in tree.walk() for name in group.struct.ignored(names)} - set(self._leaves)
        found -= {file_form(leaf.variable, self._leaves) for leaf in self._leaves.values()} - {None}
        if found:
            verb = "is" if len(found) == 1 else "are"
            yield f"{', '.join(sorted(found))} {verb} set, and nothing here reads that"

    def _report(self, problems: Iterable[Problem]) -> None:
        self.problems.update(dict.fromkeys(problems))
