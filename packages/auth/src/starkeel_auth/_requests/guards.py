"""Guards for routes."""

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
_WEBSOCKET_CODE_BASE = 4000


@final
class Guard:
    """Litestar guard that requires a valid access token with all given scopes."""

    def __init__(self, *scopes: str) -> None:
        for scope in scopes:
            if not _SCOPE.fullmatch(scope):
                raise ValueError(f"{scope!r} is not a valid scope name")
        self.scopes = frozenset(scopes)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Authenticate and authorize the connection.

        Raises:
            NotAuthorizedException: The token is missing or rejected.
            PermissionDeniedException: The token lacks a required scope.
            ServiceUnavailableException: The issuer's keys are not available.
            WebSocketException: Any of these for a WebSocket, with 4000 plus the status as close code.
        """
        del handler
        if not isinstance(connection, WebSocket):
            await self._authorize(connection)
            return
        try:
            await self._authorize(connection)
        except HTTPException as error:
            code = _WEBSOCKET_CODE_BASE + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error
        accept_subprotocol(connection)

    async def _authorize(self, connection: Connection) -> None:
        authenticator = authenticator_of(connection)
        principal = await authenticator.principal(connection)
        if not self.scopes <= principal.scopes:
            raise missing_scope(authenticator.realm, self.scopes)

    def __repr__(self) -> str:
        return f"Guard({', '.join(sorted(self.scopes))})"


authenticated = Guard()
"""Guard that requires a valid access token."""


def requires_scope(*scopes: str) -> Guard:
    """Return a guard that requires a valid access token with all given scopes, such as `orders:write`.

    Raises:
        ValueError: No scope is given, or a name is invalid.
    """
    if not scopes:
        raise ValueError("give at least one scope, or use `authenticated`")
    return Guard(*scopes)


def authenticator_of(connection: Connection) -> Authenticator:
    """Return the authenticator of the connection's application.

    Raises:
        ImproperlyConfiguredException: The application has no `AuthPlugin`.
    """
    found = connection.app.state.get(STATE_KEY)
    if not isinstance(found, Authenticator):
        raise ImproperlyConfiguredException(
            "a guarded route requires an AuthPlugin in the application's plugins"
        )
    return found


async def provide_principal(scope: Scope) -> Principal:
    """Return the connection's `Principal`. A route with this dependency requires a valid token."""
    connection: Connection = ASGIConnection(scope)
    return await authenticator_of(connection).principal(connection)
