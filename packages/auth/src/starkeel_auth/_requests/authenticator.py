"""Authentication of connections by bearer token."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, final

import structlog
from litestar.connection import ASGIConnection, WebSocket
from litestar.enums import ScopeType
from litestar.types import Message, Send

from .._errors import KeysUnavailableError, TokenError
from .._tokens.verifier import TokenVerifier
from .challenges import invalid_token, keys_unavailable, no_token

log = structlog.get_logger(__name__)

SUBPROTOCOL = "bearer"

Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The authenticated user of a connection.

    Args:
        subject: The issuer's ID of the user (`sub`).
        scopes: Granted scopes.
        token: The token, to be forwarded to upstreams on behalf of the user; excluded from repr.
        client_id: The client the token was issued to, if known.
        expires_at: Unix time in seconds at which the token expires; long-lived connections should end then.
    """

    subject: str
    scopes: frozenset[str]
    token: str = field(repr=False)
    client_id: str | None = None
    expires_at: float


@final
class Authenticator:
    """Authenticates connections. `realm` is the audience, sent in challenges."""

    def __init__(self, verifier: TokenVerifier, *, realm: str) -> None:
        self._verifier = verifier
        self.realm = realm

    async def principal(self, connection: Connection) -> Principal:
        """Return the connection's principal, stored as `scope["user"]`; the token is verified once.

        Raises:
            NotAuthorizedException: The token is missing or rejected.
            ServiceUnavailableException: The issuer's keys are not available.
        """
        known = connection.scope.get("user")
        if isinstance(known, Principal):
            return known
        principal = await self._verified(connection)
        connection.scope["user"] = principal
        structlog.contextvars.bind_contextvars(user_id=principal.subject)
        return principal

    async def _verified(self, connection: Connection) -> Principal:
        try:
            token = token_of(connection)
            if token is None:
                raise no_token(self.realm)
            claims = await self._verifier.verify(token)
        except TokenError as error:
            log.info("token refused", reason=str(error))
            raise invalid_token(self.realm, str(error)) from None
        except KeysUnavailableError as error:
            raise keys_unavailable() from error
        return Principal(
            subject=claims.sub,
            scopes=frozenset(claims.scope.split(" ")) - {""},
            token=token,
            client_id=claims.client_id,
            expires_at=claims.exp,
        )


def token_of(connection: Connection) -> str | None:
    """Return the bearer token of a connection, or None.

    Read from `Authorization: Bearer TOKEN`. Browsers cannot set that header for a WebSocket but can offer
    subprotocols: `new WebSocket(url, ["bearer", TOKEN])`. The query string is not used because it is logged.

    Raises:
        TokenError: There is more than one token.
    """
    found = [
        credentials.strip()
        for value in connection.headers.getall("authorization", [])
        for scheme, _, credentials in [value.strip().partition(" ")]
        if scheme.lower() == "bearer"
    ]
    if connection.scope["type"] == ScopeType.WEBSOCKET:
        found += _offered_tokens(connection)
    if len(found) > 1:
        raise TokenError("there is more than one token")
    return found[0] if found else None


def accept_subprotocol(socket: WebSocket[Any, Any, Any]) -> None:
    """Select the subprotocol `bearer` on accept, if it was offered and the handler selects none.

    Browsers close the connection when the server selects none of the offered subprotocols.
    """
    if _offered_tokens(socket):
        socket.send = _selecting(socket.send)


def _selecting(send: Send) -> Send:
    async def selecting(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message["subprotocol"] = SUBPROTOCOL
        await send(message)

    return selecting


def _offered_tokens(socket: Connection) -> list[str]:
    """Return the tokens among the offered subprotocols: each follows `bearer`."""
    lines = socket.headers.getall("sec-websocket-protocol", [])
    offered = [part.strip() for line in lines for part in line.split(",")]
    return [token for word, token in pairwise(offered) if word == SUBPROTOCOL]
