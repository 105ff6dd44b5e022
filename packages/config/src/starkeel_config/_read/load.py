"""Loading of settings from the environment, with all problems reported together."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from .._declare.fields import Group, Leaf, group_of
from .._declare.settings import Environment, ServiceSettings, Settings
from .._errors import ConfigurationError, Problem
from .._show.display import masked, quoted, rendered
from .._show.secret import Secret
from .._spelling import misspelled_variables
from .placeholders import ACCEPTED, placeholder
from .sources import RawValue, Sources, file_variable

S = TypeVar("S", bound=Settings)


class Entry(msgspec.Struct, frozen=True):
    """One effective setting, safe to display: secrets are `***`, absent values are empty.

    Args:
        variable: Name of the environment variable.
        value: The value as text; credentials in URLs are masked in other values as well.
        source: `environment`, `file PATH`, `.env`, `default` or `development default`.
    """

    variable: str
    value: str
    source: str


class Resolved(msgspec.Struct, Generic[S], frozen=True):
    """Settings with the source of every value.

    Args:
        entries: One entry for every variable, in declaration order.
        warnings: One line for each variable that is probably misspelled, and one line for all variables
            that are set, likely expected to have an effect, and not read.
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
        files = {file_variable(variable, variables) for variable in self.texts}
        others = {name: text for name, text in environ.items() if name not in files}
        return others | {variable: text.reveal() for variable, text in self.texts.items()}


def load(struct: type[S], environ: Mapping[str, str], *, service: str, dotenv: Path = Path(".env")) -> S:
    """Read settings from the environment. Called once, when the process starts.

    Args:
        struct: The settings class of a service, or any group of settings.
        environ: The environment: `os.environ` in a real process.
        service: Name of the service, for `{service}` in declarations and for messages.
        dotenv: File of further variables; read when `ENVIRONMENT` is `development` and the file exists.

    Raises:
        ConfigurationError: Variables are missing or invalid; contains every problem.
        DeclarationError: The class is declared incorrectly.
    """
    return resolve(struct, environ, service=service, dotenv=dotenv).settings


def resolve(
    struct: type[S], environ: Mapping[str, str], *, service: str, dotenv: Path = Path(".env")
) -> Resolved[S]:
    """Read settings as `load` does, and return them with the source of every value and warnings."""
    tree = group_of(struct)
    loader = _Loader(tree.variables(), Sources(environ), service)
    loader.determine_environment(dotenv)
    entries = tuple(loader.entries())
    settings = loader.build(tree)
    warnings = tuple(loader.warnings(tree))
    if loader.problems:
        raise ConfigurationError(service, list(loader.problems), warnings)
    return Resolved(cast("S", settings), entries, warnings, loader.texts)


class _Loader:
    def __init__(self, leaves: Mapping[str, Leaf], sources: Sources, service: str) -> None:
        self._leaves = leaves
        self._sources = sources
        self._service = service
        self._environment: Environment = "production"
        self._values: dict[str, Any] = {}
        self.texts: dict[str, Secret] = {}
        # A dictionary as an ordered set: two groups may find the same problem.
        self.problems: dict[Problem, None] = {}

    def determine_environment(self, dotenv: Path) -> None:
        leaf = group_of(ServiceSettings).variables()["ENVIRONMENT"]
        found = self._sources.find(leaf, self._leaves)
        # An invalid value is treated as production, the stricter environment.
        if isinstance(found, Problem):
            self._report([found])
        elif found is not None:
            self._environment = self._parse(leaf, found) or "production"
        if self._environment == "development":
            self._report(self._sources.open_dotenv(dotenv))

    def entries(self) -> Iterator[Entry]:
        """Read every variable: yield effective values, collect problems."""
        for leaf in self._leaves.values():
            found = self._sources.find(leaf, self._leaves)
            if isinstance(found, RawValue):
                self.texts[leaf.variable] = Secret(found.text)
            found = found or self._declared_text(leaf)
            if isinstance(found, Problem):
                self._report([found])
            elif found is None and self._is_required(leaf):
                self._report([self._missing(leaf)])
            else:
                yield from self._entry(leaf, found)

    def _entry(self, leaf: Leaf, found: RawValue | None) -> Iterator[Entry]:
        value = leaf.default_value() if found is None else self._parse(leaf, found)
        if found is not None and value is None:
            return
        self._values[leaf.variable] = value
        self._report(self._check(leaf, value))
        text, source = (None, "default") if found is None else (found.text, found.source)
        yield Entry(leaf.variable, rendered(value, text), source)

    def _declared_text(self, leaf: Leaf) -> RawValue | None:
        text, source = leaf.declared.service_default, "default"
        if self._environment == "development" and leaf.declared.development is not None:
            text, source = leaf.declared.development, "development default"
        return None if text is None else RawValue(text.replace("{service}", self._service), source)

    def _is_required(self, leaf: Leaf) -> bool:
        return leaf.required and not (leaf.has_default and self._environment == "development")

    def _missing(self, leaf: Leaf) -> Problem:
        by_file = file_variable(leaf.variable, self._leaves)
        wrong = f"is not set, nor is {by_file}" if by_file and leaf.type.secret else "is not set"
        if leaf.declared.development is not None or leaf.has_default:
            wrong += " (only development has a default)"
        return Problem(leaf.variable, wrong, leaf.type.accepts)

    def _parse(self, leaf: Leaf, found: RawValue) -> Any:
        """Return the parsed value, or None after reporting a problem."""
        try:
            return leaf.type.parse(found.text)
        except ValueError as error:
            if leaf.type.secret or found.from_file:
                place = f" (from {found.source})" if found.from_file else ""
                wrong = f"has an invalid value{place}"
            else:
                wrong = f"is {quoted(found.text)}" + (f": {masked(str(error))}" if str(error) else "")
            self._report([Problem(leaf.variable, wrong, leaf.type.accepts)])
            return None

    def _check(self, leaf: Leaf, value: object) -> Iterator[Problem]:
        """Yield what the variable's own check rejects, and placeholders in production."""
        if leaf.declared.check is not None and value is not None:
            try:
                leaf.declared.check(value)
            except ValueError as error:
                yield Problem(leaf.variable, str(error), leaf.type.accepts)
        if self._environment == "production":
            for secret in value if isinstance(value, tuple) else (value,):
                wrong = placeholder(secret) if isinstance(secret, Secret) else None
                if wrong is not None:
                    yield Problem(leaf.variable, wrong, ACCEPTED)

    def build(self, group: Group) -> Settings | None:
        """Construct the settings of a group and check them together; None when a value is missing."""
        values: dict[str, Any] = {name: self.build(inner) for name, inner in group.groups}
        complete = None not in values.values()
        for leaf in group.leaves:
            complete = complete and leaf.variable in self._values
            values[leaf.field.name] = self._values.get(leaf.variable)
        if not complete:
            return None
        settings = group.struct(**values)
        self._report(group.with_prefix(problem) for problem in settings.problems(self._environment))
        return settings

    def warnings(self, tree: Group) -> Iterator[str]:
        """Yield a warning for each misspelled variable, and one for all that are expected but not read."""
        files = {file_variable(name, self._leaves): leaf.type.secret for name, leaf in self._leaves.items()}
        known = {*self._leaves, *(name for name in files if name is not None)}
        # Only secrets are usually given by file: HOSTFILE belongs to MPI, it is not HOST_FILE.
        targets = {*self._leaves, *(name for name, is_secret in files.items() if name and is_secret)}
        names = self._sources.names()
        yield from misspelled_variables(names, known, targets)
        ignored = {name for group in tree.walk() for name in group.struct.ignored(names)} - known
        if ignored:
            verb = "is" if len(ignored) == 1 else "are"
            yield f"{', '.join(sorted(ignored))} {verb} set but not read by this service"

    def _report(self, problems: Iterable[Problem]) -> None:
        self.problems.update(dict.fromkeys(problems))
