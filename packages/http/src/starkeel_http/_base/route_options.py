"""Route options in a handler's `opt`: rate limits, timeout and load."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, get_args

from litestar.exceptions import ImproperlyConfiguredException
from starkeel_asgi import LOAD_GROUP, LOAD_PRIORITY, LoadPriority

_BY_ADDRESS: Final = "starkeel_http.limits_by_address"
_BY_USER: Final = "starkeel_http.limits_by_user"
_TIMEOUT: Final = "starkeel_http.timeout_s"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def limit_by_address(*names: str) -> dict[str, Any]:
    """Return route options that limit the requests of one client address.

    Pass them as the route's `opt`; join several with `|`.

    Args:
        names: Names of limits given to `HttpPlugin`.

    Raises:
        ValueError: No name is given.
    """
    return {_BY_ADDRESS: _required(names)}


def limit_by_user(*names: str) -> dict[str, Any]:
    """Return route options that limit the requests of one user; the route needs an authentication guard.

    Args:
        names: Names of limits given to `HttpPlugin`.

    Raises:
        ValueError: No name is given.
    """
    return {_BY_USER: _required(names)}


def request_timeout(seconds: float) -> dict[str, Any]:
    """Return route options that replace `REQUEST_TIMEOUT_SECONDS`, with a shorter or a longer time.

    Args:
        seconds: Seconds for the whole request.

    Raises:
        ValueError: The value is not between 0 and a day.
    """
    if not 0 < seconds <= 86_400:
        raise ValueError(f"the request timeout is {seconds} seconds; it must be above 0 and at most 86400")
    return {_TIMEOUT: float(seconds)}


def load_priority(priority: LoadPriority) -> dict[str, Any]:
    """Return route options for the order in which requests are refused under load.

    Args:
        priority: `low` is refused before all others, `high` after them; reads and writes without a priority
            are between, with `normal` between the two.

    Raises:
        ValueError: It is none of the three.
    """
    if priority not in get_args(LoadPriority):
        names = ", ".join(get_args(LoadPriority))
        raise ValueError(f"the priority is {priority!r}; it must be one of {names}")
    return {LOAD_PRIORITY: priority}


def load_group(name: str) -> dict[str, Any]:
    """Return route options that give routes a concurrency limit and a queue of their own.

    Args:
        name: Name of the group, also in metrics; routes without one are in the group `default`.

    Raises:
        ValueError: The name is not in lower-case letters, digits and underscores.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid name of a group: use lower-case letters, digits and underscores"
        )
    return {LOAD_GROUP: name}


class QueryCheck(Protocol):
    """Check of a query string."""

    def check(self, query: bytes) -> None:
        """Raise `ValidationException` for an invalid query string."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits that apply to a route.

    Args:
        timeout_s: Seconds for the whole request.
        max_body_bytes: Maximum size of the body; None for no limit.
        by_address: Names of the rate limits per client address.
        by_user: Names of the rate limits per user.
        query: Check of the query string; None for a route without query parameters.
        is_stream: Whether the route serves event streams or WebSockets.
    """

    timeout_s: float
    max_body_bytes: int | None
    by_address: tuple[str, ...] = ()
    by_user: tuple[str, ...] = ()
    query: QueryCheck | None = None
    is_stream: bool = False

    def for_route(
        self,
        opt: Mapping[str, Any],
        *,
        max_body_bytes: int | None,
        query: QueryCheck | None = None,
        is_stream: bool = False,
    ) -> "Policy":
        """Return this policy with a route's own options and body limit."""
        return Policy(
            timeout_s=opt.get(_TIMEOUT, self.timeout_s),
            max_body_bytes=max_body_bytes,
            by_address=opt.get(_BY_ADDRESS, ()),
            by_user=user_limits(opt),
            query=query,
            is_stream=is_stream,
        )


def user_limits(opt: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the rate limits per user in route options."""
    names: tuple[str, ...] = opt.get(_BY_USER, ())
    return names


def check_limits_declared(policy: Policy, declared: Mapping[str, object], *, where: str) -> None:
    """Raise ImproperlyConfiguredException if `HttpPlugin` was not given every limit that a route uses."""
    for name in (*policy.by_address, *policy.by_user):
        if name not in declared:
            names = ", ".join(f"`{other}`" for other in declared) or "empty"
            raise ImproperlyConfiguredException(
                f"{where} uses the rate limit `{name}`, which is not in `limits` of HttpPlugin ({names})"
            )


def check_limit_names(names: Mapping[str, object]) -> None:
    """Raise ValueError for a name of a limit that cannot be sent in a header."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a valid name of a limit: use lower-case letters, digits and underscores"
            )


def _required(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("at least one name of a limit is required")
    return names
