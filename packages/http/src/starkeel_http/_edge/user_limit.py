"""Rate limits per user, enforced by a guard that runs after the authentication guards."""

from hashlib import blake2b
from typing import Any, final

from litestar.connection import ASGIConnection, WebSocket
from litestar.exceptions import HTTPException, ImproperlyConfiguredException, WebSocketException
from litestar.handlers import BaseRouteHandler
from starkeel_asgi import current

from .._rate_limit.limiter import Limiter, add_rate_limit_headers

_DIGEST_BYTES = 16
_WEBSOCKET_CODES_FROM = 4000


@final
class UserLimit:
    """Guard that counts a user's requests.

    Args:
        limiter: Counts the requests.
        names: Names of the limits.
    """

    def __init__(self, limiter: Limiter, names: tuple[str, ...]) -> None:
        self._limiter = limiter
        self._names = names

    def __deepcopy__(self, _: object) -> "UserLimit":
        # Litestar copies the guards of controllers and routers; the limiter is shared.
        return self

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Count a request of the authenticated user.

        Raises:
            TooManyRequestsException: A limit is exceeded.
            ServiceUnavailableException: Redis is unavailable and requests are refused.
            WebSocketException: Either of them on a WebSocket, with 4000 plus the status as close code.
            ImproperlyConfiguredException: No guard before this one authenticated the user.
        """
        subject = getattr(connection.scope.get("user"), "subject", None)
        if not isinstance(subject, str):
            raise ImproperlyConfiguredException(
                f"{handler} has a rate limit per user, but no guard before it set `scope['user']`"
            )
        try:
            await self._count(connection, subject)
        except HTTPException as error:
            if not isinstance(connection, WebSocket):
                raise
            code = _WEBSOCKET_CODES_FROM + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error

    async def _count(self, connection: ASGIConnection[Any, Any, Any, Any], subject: str) -> None:
        # Hashed: Redis may be shared, and keys must not contain identities.
        key = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
        exchange = current(connection.scope)
        for name in self._names:
            result = await self._limiter.hit(name, key)
            if result is None:
                continue
            if exchange is not None:
                add_rate_limit_headers(exchange, result)
            if not result.is_within:
                raise result.exception()
