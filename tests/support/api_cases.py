"""Tables of a service's operations: access and examples, in `services/NAME/tests/api_cases.py`.

The module has `ACCESS`, by method and path, `EXAMPLES`, by method, path and status, and, for operations on
objects, a function `values` that creates an object of a user and returns what replaces the examples.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import NamedTuple

import httpx2

from tools.registry import read

BROKEN = (
    "empty",
    "no value",
    "garbage",
    "two parts",
    "basic",
    "long",
    "expired",
    "other issuer",
    "other audience",
    "other key",
    "other user",
    "without exp",
    "without sub",
    "no signature",
    "public key as secret",
)
"""Values of `Authorization` that are not a valid access token; each has the status `broken`."""


class Access(NamedTuple):
    """Statuses of a request that is valid except for its access token.

    Attributes:
        own: The user's own token, for the user's own objects.
        none: No token.
        broken: A token that is not valid; see `BROKEN`.
        stranger: The token of another user, for the first user's objects.
        deactivated: The token of a user that has been deactivated.
        ended: The token of a session that has ended.
        without_scope: A valid token of the user without any scope.
        of_service: A valid token whose subject is not a user.
        has_body: Whether the request has its body.
    """

    own: int
    none: int
    broken: int
    stranger: int
    deactivated: int
    ended: int
    without_scope: int
    of_service: int
    has_body: bool = True


def public(status: int) -> Access:
    """Return the row of an operation that reads no access token."""
    return Access(*[status] * 8)


def of_scope(status: int, *, stranger: int | None = None) -> Access:
    """Return the row of an operation that requires a scope.

    The service verifies tokens of another one, from which it learns of a deactivation as the end of all
    sessions.
    """
    return Access(status, 401, 401, stranger or status, 401, 401, 403, 403)


class Execution(NamedTuple):
    """One documented success response.

    Attributes:
        is_authenticated: Whether the request has the access token of a user.
        values: By name: what replaces an example in addition to `Fleet.values`, such as the address of a
            registered user. `$email` is the user's address, `$etag` the `ETag` of an earlier response.
        headers: Further headers, with the same values.
        env: Settings that the response needs; the service is started with them.
        mail: Path of a request for a mail to the user, whose token is the value of `token`.
        has_service_credentials: Whether the request has the credentials of a service.
    """

    is_authenticated: bool = True
    values: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    mail: str = ""
    has_service_credentials: bool = False

    def resolved(self, values: Mapping[str, str], email: str, etag: str) -> dict[str, str]:
        """Return values or headers with what they refer to."""
        known = {"$email": email, "$etag": etag}
        return {name: known.get(value, value) for name, value in values.items()}


PUBLIC = Execution(is_authenticated=False)
CALLER = Execution()

Values = Callable[[httpx2.Client, Mapping[str, str]], Mapping[str, str]]
"""Creates an object by a client, with the headers of a user; returns values by the name of the example."""


class ApiCases(NamedTuple):
    """The tables of a service."""

    access: Mapping[str, Access]
    examples: Mapping[str, Execution]
    values: Values

    @property
    def has_objects(self) -> bool:
        """Whether an operation has the id of an object in its path."""
        return any("{" in name for name in self.access)


def _no_object(_client: httpx2.Client, _headers: Mapping[str, str]) -> Mapping[str, str]:
    return {}


@cache
def api_cases() -> dict[str, ApiCases]:
    """Return the tables of every service of the registry.

    Raises:
        ModuleNotFoundError: A service has no `tests/api_cases.py`.
        AttributeError: The module of a service has no table.
    """
    modules = {service.name: import_module(f"services.{service.name}.tests.api_cases") for service in read()}
    return {
        name: ApiCases(module.ACCESS, module.EXAMPLES, getattr(module, "values", _no_object))
        for name, module in modules.items()
    }
