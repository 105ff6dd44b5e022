"""What came of asking a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from litestar.exceptions import TooManyRequestsException

from ._headers import Header

TOO_OFTEN: Final = "Too many requests; `Retry-After` says when to come back."


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is within a limit.

    Args:
        name: Name of the limit.
        quota: How many requests it allows in its window.
        window_s: Seconds of the window.
        is_within: Whether this one is.
        remaining: How many are left.
        reset_s: Seconds until there is one more.
    """

    name: str
    quota: int
    window_s: int
    is_within: bool
    remaining: int
    reset_s: int

    def refusal(self) -> TooManyRequestsException:
        """Return what a request that is not within the limit is answered with."""
        return TooManyRequestsException(TOO_OFTEN, headers={"Retry-After": str(max(1, self.reset_s))})


def limit_headers(verdicts: Sequence[Verdict]) -> list[Header]:
    """Say what is left of limits (draft-ietf-httpapi-ratelimit-headers-10).

    Args:
        verdicts: One for each limit that was asked.
    """
    policies = ", ".join(f'"{v.name}";q={v.quota};w={v.window_s}' for v in verdicts)
    states = ", ".join(f'"{v.name}";r={v.remaining};t={v.reset_s}' for v in verdicts)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", states.encode())]
