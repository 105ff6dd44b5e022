"""What settings are declared with."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from .._errors import Problem

Environment = Literal["production", "development"]


class _Named(msgspec.Struct, frozen=True):
    name: str


class Variable(_Named, frozen=True, kw_only=True):
    """The environment variable a field is read from, given in the field's `Annotated`.

    A field without a Python default is required, unless one of the two texts below stands in. In both,
    `{service}` is replaced by the name of the service.

    Args:
        name: Name of the variable: upper case, digits, underscores.
        development: Text that stands in for an absent variable when `ENVIRONMENT` is `development`.
        service_default: Text that stands in for an absent variable everywhere.
        required_in_production: Refuse its absence in production, although the field has a Python default.
        check: Given the value; raises ValueError with what is wrong with it. The text is shown even when the
            variable is secret, and must not repeat it.
    """

    development: str | None = None
    service_default: str | None = None
    required_in_production: bool = False
    check: Callable[[Any], object] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every group of settings: fields are variables or other groups.

    The sentence below each field becomes its description in the reference documentation, the first line of
    the class's docstring the heading above them.
    """

    def problems(self, environment: Environment) -> Iterable[Problem]:
        """What is wrong with these settings together, each being right alone. Overridden where there is such.

        Args:
            environment: Where the service runs; some things are refused in production only.
        """
        del environment  # for those who override this
        return ()

    @classmethod
    def ignored(cls, names: Collection[str]) -> Iterable[str]:
        """Variables that somebody would expect these settings to read. Overridden where there is such.

        What is among them and read by nothing here is warned about at start.

        Args:
            names: Of all variables that are set.
        """
        del names  # for those who override this
        return ()


class ServiceSettings(Settings, frozen=True, kw_only=True):
    """The service itself.

    Base of a service's settings, which list the groups of the packages it uses.
    """

    environment: Annotated[Environment, Variable("ENVIRONMENT")] = "production"
    """Where it runs: `development` allows embedded defaults, a `.env` file and placeholder secrets."""


class Prefix:
    """How a nested group of settings is named; stands as the default of the field that holds the group."""

    def __init__(self, name: str, development: Mapping[str, str]) -> None:
        self.name = name
        self.development = dict(development)

    def __call__(self) -> NoReturn:
        """What msgspec calls when the group is left out of a constructor: there is nothing to put there."""
        raise TypeError(f"the settings with the prefix {self.name} are missing: pass them, or use load()")


def prefixed(name: str, *, development: Mapping[str, str] | None = None) -> Any:
    """Read a nested group with every variable of it prefixed: `URL` as `ACCOUNTS_URL` with `ACCOUNTS`.

    Given as the field's default: ``accounts: UpstreamSettings = prefixed("ACCOUNTS")``.

    Args:
        name: The prefix, without the underscore that follows it.
        development: Texts that stand in for absent variables in development, by their unprefixed names; they
            win over those of the group's own `Variable`s.
    """
    return msgspec.field(default_factory=Prefix(name, development or {}))
