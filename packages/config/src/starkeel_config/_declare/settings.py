"""Base classes and annotations that declare settings."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

import msgspec

from .._errors import DeclarationError, Problem

Environment = Literal["production", "development"]
S = TypeVar("S")


class _Named(msgspec.Struct, frozen=True):
    name: str


class Variable(_Named, frozen=True, kw_only=True):
    """The environment variable a field is read from, given in the field's `Annotated`.

    A field without a Python default is required unless `development` or `service_default` applies. In both,
    `{service}` is replaced by the name of the service.

    Args:
        name: Upper-case letters, digits and underscores.
        development: Text used for an absent variable when `ENVIRONMENT` is `development`.
        service_default: Text used for an absent variable in every environment.
        required_in_production: Require the variable in production although the field has a Python default.
        check: Validates the value; raises ValueError with a description of the problem. The description is
            displayed even for secret variables and must not contain the value.
    """

    development: str | None = None
    service_default: str | None = None
    required_in_production: bool = False
    check: Callable[[Any], object] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of a group of settings. Fields are variables or nested groups.

    The string below each field is its description in the reference documentation; the first sentence of the
    class docstring is the section heading.
    """

    plugin: ClassVar[str | None] = None
    """Import path (`module:Class`) of the plugin that is created from these settings. It has a class method
    `for_service(groups, service)`, given the groups with this path by the names of their fields, and a
    `ServiceContext`."""

    def problems(self, environment: Environment) -> Iterable[Problem]:
        """Return problems of values that contradict each other. Override as needed."""
        del environment  # used by overrides
        return ()

    @classmethod
    def ignored(cls, names: Collection[str]) -> Iterable[str]:
        """Return which of the variables that are set these settings might be expected to read.

        Those that no settings class reads are warned about at start. Override as needed.
        """
        del names  # used by overrides
        return ()


class ServiceSettings(Settings, frozen=True, kw_only=True):
    """The service itself.

    Base class of a service's settings, which nest the groups of the packages it uses.
    """

    environment: Annotated[Environment, Variable("ENVIRONMENT")] = "production"
    """Environment: `development` allows embedded defaults, a `.env` file and placeholder secrets."""


class ServiceContext(msgspec.Struct, frozen=True, kw_only=True):
    """The service for which a plugin is created from settings.

    Args:
        name: Name of the service.
        package: Name of its Python package.
        settings: All settings.
        description: One sentence about the service.
    """

    name: str
    package: str
    settings: ServiceSettings
    description: str

    @staticmethod
    def only(groups: Mapping[str, S]) -> S:
        """Return the only group of a kind that a service may have once.

        Raises:
            DeclarationError: There are several.
        """
        if len(groups) != 1:
            fields = ", ".join(f"`{name}`" for name in groups)
            kind = type(next(iter(groups.values()))).__name__
            raise DeclarationError(f"{fields} are {kind}; a service can have only one group of this kind")
        (group,) = groups.values()
        return group


class Prefix:
    """Default value of a nested group's field: the prefix of its variables."""

    def __init__(self, name: str, development: Mapping[str, str]) -> None:
        self.name = name
        self.development = dict(development)

    def __call__(self) -> NoReturn:
        """Raise, because msgspec calls this as default factory when a constructor call omits the group."""
        raise TypeError(f"the settings with the prefix {self.name} are missing: pass them, or use load()")


def prefixed(name: str, *, development: Mapping[str, str] | None = None) -> Any:
    """Read a nested group from variables with a prefix: `URL` as `ACCOUNTS_URL` with `ACCOUNTS`.

    Used as the field's default: ``accounts: UpstreamSettings = prefixed("ACCOUNTS")``.

    Args:
        name: The prefix, without the underscore that follows it.
        development: Texts used for absent variables in development, by unprefixed name; they take precedence
            over those of the group's own `Variable`s.
    """
    return msgspec.field(default_factory=Prefix(name, development or {}))
