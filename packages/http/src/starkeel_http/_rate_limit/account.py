"""Limits of the attempts to sign in to one account."""

from typing import TYPE_CHECKING, Any, final

from litestar import Request
from litestar.exceptions import TooManyRequestsException
from starkeel_asgi import Exchange, current

from .rules import Usage

if TYPE_CHECKING:
    from .limiter import Limiter


@final
class AccountLimit:
    """The dependency `account_limit`: counts attempts to sign in against the limit of `limit_by_account`.

    Addresses from which the account has never succeeded share one allowance, however many they are. Each
    address from which it has has an allowance of its own, so that strangers cannot lock the owner out.

    Args:
        limiter: Counts requests.
        exchange: The request.
        limit: Name of the limit.

    Attributes:
        is_exceeded: Whether the account's limit refused the attempt, and not another one of the route.
    """

    def __init__(self, limiter: "Limiter", exchange: Exchange, limit: str) -> None:
        self._limiter = limiter
        self._exchange = exchange
        self._limit = limit
        self.is_exceeded = self._was_remembered = False

    async def count(self, account: str) -> None:
        """Count an attempt, before the password is verified.

        Args:
            account: Keyed hash of the account's name, which is stored in Redis; the same for registered and
                other names.

        Raises:
            TooManyRequestsException: A limit is exceeded.
            ServiceUnavailableException: Redis is unavailable and requests are refused.
        """
        peer = self._exchange.client or "unknown"
        usage = Usage(self._limit, account, peer=peer)
        try:
            counted = await self._limiter.count(self._exchange, (usage,))
        except TooManyRequestsException as error:
            self.is_exceeded = usage in getattr(error, "over", ())
            raise
        self._was_remembered = counted.was_remembered

    def remember(self, account: str) -> None:
        """Give the client's address an allowance of its own from now on, as the attempt has succeeded."""
        if not self._was_remembered:
            self._limiter.remember(self._exchange, account, self._exchange.client or "unknown")


class AccountLimitProvider:
    """Provides the dependency `account_limit`.

    Args:
        limiter: Counts requests.
    """

    def __init__(self, limiter: "Limiter") -> None:
        self._limiter = limiter

    async def provide(self, request: Request[Any, Any, Any]) -> AccountLimit:
        """Return the dependency of a request, whose route has one limit per account."""
        exchange = current(request.scope)
        assert exchange is not None
        [limit] = exchange.policy.by_account
        return AccountLimit(self._limiter, exchange, limit)
