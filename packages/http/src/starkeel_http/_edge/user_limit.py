"""Limits by user: a guard after all others, which have found out who that is."""

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
    """A guard that counts a user's requests.

    Args:
        limiter: What counts.
        names: The limits.
    """

    def __init__(self, limiter: Limiter, names: tuple[str, ...]) -> None:
        self._limiter = limiter
        self._names = names

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Let a user's request pass, and count it.

        Raises:
            TooManyRequestsException: It is one too many.
            ServiceUnavailableException: Nobody can tell, and requests do not pass then.
            WebSocketException: Either, for a WebSocket, with the status plus 4000 as close code.
            ImproperlyConfiguredException: No guard has found out who the user is.
        """
        subject = getattr(connection.scope.get("user"), "subject", None)
        if not isinstance(subject, str):
            raise ImproperlyConfiguredException(
                f"{handler} is limited by user, but no guard of it finds out who that is"
            )
        try:
            await self._count(connection, subject)
        except HTTPException as error:
            if not isinstance(connection, WebSocket):
                raise
            code = _WEBSOCKET_CODES_FROM + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error

    async def _count(self, connection: ASGIConnection[Any, Any, Any, Any], subject: str) -> None:
        # Who somebody is stands in no key: Redis may be somebody else's.
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
