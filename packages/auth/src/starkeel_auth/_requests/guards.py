"""What stands before a route."""

import re
from typing import final

from litestar.connection import ASGIConnection, WebSocket
from litestar.exceptions import HTTPException, ImproperlyConfiguredException, WebSocketException
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from .authenticator import Authenticator, Connection, Principal, accept_subprotocol
from .challenges import missing_scope

_SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749, 3.3
STATE_KEY = "starkeel_auth"
_WEBSOCKET_CODES_FROM = 4000


@final
class Guard:
    """A Litestar guard that lets in who shows a good token with all of some scopes."""

    def __init__(self, *scopes: str) -> None:
        for scope in scopes:
            if not _SCOPE.fullmatch(scope):
                raise ValueError(f"{scope!r} is no name of a scope")
        self.scopes = frozenset(scopes)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let the connection pass, with its `Principal` as its user.

        Raises:
            NotAuthorizedException: It shows no token, or one that is not accepted.
            PermissionDeniedException: Its token does not allow this.
            ServiceUnavailableException: Nobody can tell at the moment.
            WebSocketException: Any of these for a WebSocket, with the status plus 4000 as close code.
        """
        del handler
        if not isinstance(connection, WebSocket):
            await self._admit(connection)
            return
        try:
            await self._admit(connection)
        except HTTPException as error:
            code = _WEBSOCKET_CODES_FROM + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error
        accept_subprotocol(connection)

    async def _admit(self, connection: Connection) -> None:
        authenticator = authenticator_of(connection)
        principal = await authenticator.principal(connection)
        if not self.scopes <= principal.scopes:
            raise missing_scope(authenticator.realm, self.scopes)

    def __repr__(self) -> str:
        return f"Guard({', '.join(sorted(self.scopes))})"


authenticated = Guard()
"""Lets in whoever shows a good token."""


def requires_scope(*scopes: str) -> Guard:
    """Return a guard that lets in who shows a good token with all of these scopes.

    Args:
        scopes: Their names: `orders:write`.

    Raises:
        ValueError: One of them is no name of a scope.
    """
    if not scopes:
        raise ValueError("name a scope, or use `authenticated`")
    return Guard(*scopes)


def authenticator_of(connection: Connection) -> Authenticator:
    """Return the authenticator of the connection's application.

    Raises:
        ImproperlyConfiguredException: The application has none.
    """
    found = connection.app.state.get(STATE_KEY)
    if not isinstance(found, Authenticator):
        raise ImproperlyConfiguredException(
            "a guarded route needs an AuthPlugin in its application's plugins"
        )
    return found


async def provide_principal(scope: Scope) -> Principal:
    """Return the connection's `Principal`; a route that asks for it lets nobody else in."""
    connection: Connection = ASGIConnection(scope)
    return await authenticator_of(connection).principal(connection)
