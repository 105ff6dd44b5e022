"""Terms of counting that the storages share: limits of keys, and the result."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from .._base.rate import Rate


class Usage(NamedTuple):
    """A request that counts for a client, user or account.

    Args:
        limit: Name of the limit.
        key: The client, user or account.
        wide_key: The network of the client, for which all clients there count.
        peer: Address of the client, where the limit is that of an account.
    """

    limit: str
    key: str
    wide_key: str | None = None
    peer: str | None = None


class Rule(NamedTuple):
    """Limit of one key: at most `amount` requests in a moving window, and `burst` in a shorter one.

    Attributes:
        burst: 0 for no shorter window.
    """

    limit: str
    key: str
    amount: int
    window_s: int
    burst: int
    burst_s: float


class Count(NamedTuple):
    """State of a key before the request is counted.

    Attributes:
        counted: Requests in the window, and `recent` in that of the burst.
        left_s: Seconds until the oldest request leaves the window, and `recent_left_s` that of the burst.
    """

    counted: int
    left_s: float
    recent: int
    recent_left_s: float


class Account(NamedTuple):
    """The account that the last rule is about, and the address of a client.

    An address from which the account has succeeded before has an allowance of its own: others cannot use it.

    Args:
        key: The account.
        peer: Hash of the address.
    """

    key: str
    peer: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Result of counting a request: in all keys, or in none if one is at its limit.

    Args:
        is_within: Whether the request is allowed.
        counts: State of each rule before.
        was_remembered: Whether the account has succeeded from the address within a day.
    """

    is_within: bool
    counts: tuple[Count, ...]
    was_remembered: bool = False


KNOWN_S: Final = 30 * 86400
"""Seconds for which an address stays known after the last success from it."""
REMEMBERED_S: Final = 86400
"""Seconds for which a success is not stored again."""
KNOWN_ADDRESSES: Final = 20
"""Number of known addresses of an account; the longest unused is forgotten first."""


def rules_of(usage: Usage, rate: Rate) -> list[Rule]:
    """Return the limits that a request counts for."""
    burst_s = rate.burst_s
    rules = [Rule(usage.limit, usage.key, rate.amount, rate.window_s, rate.burst, burst_s)]
    if usage.wide_key is not None:
        rules.append(Rule(usage.limit, usage.wide_key, rate.wide_amount, rate.window_s, 0, 0))
    return rules


def own_rule(rule: Rule, account: Account) -> Rule:
    """Return the rule of an account for one of its known addresses."""
    return rule._replace(key=f"{account.key}/{account.peer}")
