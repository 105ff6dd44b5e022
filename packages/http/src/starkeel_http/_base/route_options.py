"""Route options in a handler's `opt`: rate limits, timeout, compression, entity tag and load."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, get_args

from litestar.exceptions import ImproperlyConfiguredException
from starkeel_asgi import LOAD_GROUP, LOAD_PRIORITY, LoadPriority

from .rate import Rate, Subject

_BY_ADDRESS: Final = "starkeel_http.limits_by_address"
_BY_USER: Final = "starkeel_http.limits_by_user"
_BY_ACCOUNT: Final = "starkeel_http.limits_by_account"
_COMPRESSION: Final = "starkeel_http.compression"
_ENTITY_TAG: Final = "starkeel_http.entity_tag"
_TIMEOUT: Final = "starkeel_http.timeout_s"
_SUBJECTS: Final[dict[str, Subject]] = {_BY_ADDRESS: "address", _BY_USER: "user", _BY_ACCOUNT: "account"}
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


def limit_by_account(name: str) -> dict[str, Any]:
    """Return route options that limit the attempts to sign in to one account.

    The handler takes the dependency `account_limit` (`AccountLimit`) and has it count each attempt.

    Args:
        name: Name of a limit given to `HttpPlugin`.
    """
    return {_BY_ACCOUNT: (name,)}


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


def compression(is_enabled: bool = True) -> dict[str, Any]:
    """Return route options that compress all responses of a route, or none.

    Without the option, responses to GET and HEAD are compressed if the request has no credentials. The length
    of a compressed response reveals whether a part of it is repeated (BREACH): enable it only for responses
    that never have both a secret and something that the request chose.

    Args:
        is_enabled: Whether they are compressed.
    """
    return {_COMPRESSION: is_enabled}


def is_compressed(opt: Mapping[str, Any]) -> bool | None:
    """Return the value of `compression` in route options; `None` without it."""
    value: bool | None = opt.get(_COMPRESSION)
    return value


def entity_tag() -> dict[str, Any]:
    """Return route options that give a GET's 200 a weak `ETag` of its body, unless its handler sets a tag.

    It saves the transfer of what the client has, not the work of the handler: `not_modified` saves both. The
    body is held back until it is complete.
    """
    return {_ENTITY_TAG: True}


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
        by_account: Names of the rate limits per account.
        query: Check of the query string; None for a route without query parameters.
        is_stream: Whether the route serves event streams or WebSockets.
        compression: How responses are compressed; None if they are not.
        has_entity_tag: Whether responses have a tag of their body.
    """

    timeout_s: float
    max_body_bytes: int | None
    by_address: tuple[str, ...] = ()
    by_user: tuple[str, ...] = ()
    by_account: tuple[str, ...] = ()
    query: QueryCheck | None = None
    is_stream: bool = False
    compression: Any = None
    has_entity_tag: bool = False

    def for_route(
        self,
        opt: Mapping[str, Any],
        rates: Mapping[str, Rate],
        *,
        max_body_bytes: int | None,
        query: QueryCheck | None = None,
        is_stream: bool = False,
        compression: Any = None,
    ) -> "Policy":
        """Return this policy with a route's own options and body limit.

        Raises:
            ImproperlyConfiguredException: A stream has `entity_tag`, which needs its whole body.
        """
        if is_stream and _ENTITY_TAG in opt:
            raise ImproperlyConfiguredException("an event stream has no `entity_tag`: remove the option")
        names = limits_of(opt, rates)
        return Policy(
            timeout_s=opt.get(_TIMEOUT, self.timeout_s),
            max_body_bytes=max_body_bytes,
            by_address=names["address"],
            by_user=names["user"],
            by_account=names["account"],
            query=query,
            is_stream=is_stream,
            compression=compression,
            has_entity_tag=_ENTITY_TAG in opt,
        )


def limits_of(opt: Mapping[str, Any], rates: Mapping[str, Rate]) -> dict[Subject, tuple[str, ...]]:
    """Return the names of the rate limits in route options by what they count.

    The route decides, unless the rate has `by`.
    """
    found: dict[Subject, tuple[str, ...]] = {"address": (), "user": (), "account": ()}
    for name, subject in _declared(opt):
        by = rates[name].by if name in rates else None
        found[by or subject] += (name,)
    return found


def check_limits(
    opt: Mapping[str, Any],
    rates: Mapping[str, Rate],
    *,
    where: str,
    has_guards: bool,
    counts_accounts: bool,
) -> None:
    """Check the rate limits of a route.

    Args:
        opt: The route's options.
        rates: The limits given to `HttpPlugin`.
        where: The route, for messages.
        has_guards: Whether a guard of the route may authenticate the user.
        counts_accounts: Whether the handler takes `account_limit`.

    Raises:
        ImproperlyConfiguredException: A limit is not declared, its `by` is impossible on the route, or
            `limit_by_account` and `account_limit` are not used together.
    """
    if (opt.get(_BY_ACCOUNT) is not None) is not counts_accounts:
        raise ImproperlyConfiguredException(
            f"{where} must have both `limit_by_account` in its `opt` and the dependency `account_limit`"
        )
    for name, subject in _declared(opt):
        if name not in rates:
            names = ", ".join(f"`{other}`" for other in rates) or "empty"
            raise ImproperlyConfiguredException(
                f"{where} uses the rate limit `{name}`, which is not in `limits` of HttpPlugin ({names})"
            )
        by = rates[name].by or subject
        reason = ""
        if "account" in {by, subject} and by != subject:
            reason = f"the route counts it by {subject}"
        elif by == "user" != subject and not has_guards:
            reason = "no guard of the route authenticates the user"
        if reason:
            raise ImproperlyConfiguredException(
                f"the rate limit `{name}` has `by={by}`, which {where} does not support: {reason}."
                f" Use `by={subject}` in its setting, or omit it"
            )


def _declared(opt: Mapping[str, Any]) -> list[tuple[str, Subject]]:
    return [(name, subject) for key, subject in _SUBJECTS.items() for name in opt.get(key, ())]


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
