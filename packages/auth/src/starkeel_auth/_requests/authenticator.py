"""From a request to who asks."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, final

import structlog
from litestar.connection import ASGIConnection, WebSocket
from litestar.enums import ScopeType
from litestar.types import Message, Send

from .._errors import KeysUnavailableError, TokenError
from .._tokens.verifier import TokenVerifier
from .challenges import bad_token, cannot_tell, no_token

log = structlog.get_logger(__name__)

SUBPROTOCOL = "bearer"

Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The bearer of a good token.

    Args:
        subject: Who it is, `sub`: the issuer's name for the user.
        scopes: What the token allows.
        token: The token itself, to be passed on to an upstream in the user's name; in no repr.
        client_id: The client the token was issued to, when the issuer says so.
        expires_at: Seconds since 1970 after which the token opens nothing; long-lived connections end by it.
    """

    subject: str
    scopes: frozenset[str]
    token: str = field(repr=False)
    client_id: str | None = None
    expires_at: float


@final
class Authenticator:
    """Finds out who a request is from.

    Args:
        verifier: What tokens are verified by.
        realm: What is protected: the audience.
    """

    def __init__(self, verifier: TokenVerifier, *, realm: str) -> None:
        self._verifier = verifier
        self.realm = realm

    async def principal(self, connection: Connection) -> Principal:
        """Return who the request is from, from then on `scope["user"]`, verifying its token once.

        Raises:
            NotAuthorizedException: It shows no token, or one that is not accepted.
            ServiceUnavailableException: Nobody can tell at the moment.
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
            raise bad_token(self.realm, str(error)) from None
        except KeysUnavailableError as error:
            raise cannot_tell() from error
        return Principal(
            subject=claims.sub,
            scopes=frozenset(claims.scope.split(" ")) - {""},
            token=token,
            client_id=claims.client_id,
            expires_at=claims.exp,
        )


def token_of(connection: Connection) -> str | None:
    """Return the bearer token of a request; None when it carries none.

    It stands in `Authorization: Bearer TOKEN`. A browser cannot set that header for a WebSocket, but it can
    offer subprotocols: `new WebSocket(url, ["bearer", TOKEN])`. Never in the query string, which ends up in
    logs and histories.

    Raises:
        TokenError: There are several, or it is no text a token could be.
    """
    found = [
        credentials.strip()
        for value in connection.headers.getall("authorization", [])
        for scheme, _, credentials in [value.strip().partition(" ")]
        if scheme.lower() == "bearer"
    ]
    if connection.scope["type"] == ScopeType.WEBSOCKET:
        found += _offered(connection)
    if len(found) > 1:
        raise TokenError("there is more than one token")
    return found[0] if found else None


def accept_subprotocol(socket: WebSocket[Any, Any, Any]) -> None:
    """See to it that accepting the socket selects `bearer`, where it was offered, unless the handler selects.

    A browser fails the connection when none of the subprotocols it offered is selected.
    """
    if _offered(socket):
        socket.send = _selecting(socket.send)


def _selecting(send: Send) -> Send:
    async def selecting(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message["subprotocol"] = SUBPROTOCOL
        await send(message)

    return selecting


def _offered(socket: Connection) -> list[str]:
    """The tokens among the offered subprotocols: each follows the word `bearer`."""
    lines = socket.headers.getall("sec-websocket-protocol", [])
    offered = [part.strip() for line in lines for part in line.split(",")]
    return [token for word, token in pairwise(offered) if word == SUBPROTOCOL]
