"""What a route says of itself in its `opt`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar.exceptions import ImproperlyConfiguredException

_BY_ADDRESS: Final = "starkeel_http.limits_by_address"
_BY_USER: Final = "starkeel_http.limits_by_user"
_TIMEOUT: Final = "starkeel_http.timeout_s"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def limit_by_address(*names: str) -> dict[str, Any]:
    """Limit how often one client address may call a route.

    Given as the route's `opt`; several are joined by `|`.

    Args:
        names: Names of limits given to `EdgePlugin`.

    Raises:
        ValueError: There is no name.
    """
    return {_BY_ADDRESS: _checked(names)}


def limit_by_user(*names: str) -> dict[str, Any]:
    """Limit how often one user may call a route, which a guard has to let in only those it knows.

    Args:
        names: Names of limits given to `EdgePlugin`.

    Raises:
        ValueError: There is no name.
    """
    return {_BY_USER: _checked(names)}


def request_timeout(seconds: float) -> dict[str, Any]:
    """Give a route a time of its own, shorter or longer than `REQUEST_TIMEOUT_SECONDS`.

    Args:
        seconds: Seconds a request may take as a whole.

    Raises:
        ValueError: It is not between 0 and a day.
    """
    if not 0 < seconds <= 86_400:
        raise ValueError(f"a request cannot take {seconds} seconds")
    return {_TIMEOUT: float(seconds)}


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to the requests of a route.

    Args:
        timeout_s: Seconds a request may take.
        max_body_bytes: Bytes its body may have; None for any number.
        by_address: Names of the limits for its client's address.
        by_user: Names of the limits for its user.
    """

    timeout_s: float
    max_body_bytes: int | None
    by_address: tuple[str, ...] = ()
    by_user: tuple[str, ...] = ()

    def for_route(self, opt: Mapping[str, Any], *, max_body_bytes: int | None) -> "Policy":
        """Return what becomes of this with a route's own `opt` and body limit."""
        return Policy(
            timeout_s=opt.get(_TIMEOUT, self.timeout_s),
            max_body_bytes=max_body_bytes,
            by_address=opt.get(_BY_ADDRESS, ()),
            by_user=opt.get(_BY_USER, ()),
        )


def check_limits_declared(policy: Policy, known: Mapping[str, object], *, where: str) -> None:
    """Refuse limits that nobody declared.

    Args:
        policy: Of a route.
        known: The limits, by name.
        where: The route.

    Raises:
        ImproperlyConfiguredException: One of its limits is unknown.
    """
    for name in (*policy.by_address, *policy.by_user):
        if name not in known:
            declared = ", ".join(f"`{one}`" for one in known) or "none"
            raise ImproperlyConfiguredException(
                f"{where} is limited by `{name}`, which EdgePlugin was not given: its limits are {declared}"
            )


def check_limit_names(names: Mapping[str, object]) -> None:
    """Refuse names that cannot stand in a header.

    Raises:
        ValueError: One cannot.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a limit: lower case, digits and underscores make one")


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("name a limit")
    return names
