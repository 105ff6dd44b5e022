"""Guards, and the authentication of connections by bearer token."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from time import time
from typing import Any, final

import structlog
from litestar.connection import ASGIConnection, WebSocket
from litestar.enums import ScopeType
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    NotAuthorizedException,
    PermissionDeniedException,
    ServiceUnavailableException,
    WebSocketException,
)
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

from ._errors import KeysUnavailableError, ProofError, TokenError
from ._proofs import PROOFS_KEY, Connection, Proofs
from ._tokens.verifier import TokenVerifier

log = structlog.get_logger(__name__)

STATE_KEY = "starkeel_auth"

_SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749, 3.3
_SUBPROTOCOL = "bearer"
_WEBSOCKET_CODE_BASE = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The authenticated user of a connection.

    Args:
        subject: The issuer's ID of the user (`sub`).
        token: The token, to be forwarded to upstreams on behalf of the user; excluded from repr.
        client_id: The client the token was issued to, if known.
        session_id: The issuer's ID of the session (`sid`), if the token belongs to one.
        expires_at: Unix time in seconds at which the token expires.
    """

    subject: str
    scopes: frozenset[str]
    token: str = field(repr=False)
    client_id: str | None = None
    session_id: str | None = None
    expires_at: float
    _has_ended: Callable[[str | None], bool] = field(default=lambda _: False, repr=False, compare=False)

    def is_valid(self) -> bool:
        """Return whether the token has not expired and its session is not known to have ended.

        Requests are checked when they start; a long-lived connection should end when this becomes False.
        """
        return time() < self.expires_at and not self._has_ended(self.session_id)


@final
class Guard:
    """Litestar guard that requires a valid access token with all given scopes."""

    def __init__(self, *scopes: str) -> None:
        for scope in scopes:
            if not _SCOPE.fullmatch(scope):
                raise ValueError(f"{scope!r} is not a valid scope name")
        self.scopes = frozenset(scopes)

    async def __call__(self, connection: Connection, _: BaseRouteHandler) -> None:
        """Authenticate and authorize the connection.

        Raises:
            NotAuthorizedException: The token is missing or rejected.
            PermissionDeniedException: The token lacks a required scope.
            ServiceUnavailableException: The issuer's keys are not available.
            WebSocketException: Any of these for a WebSocket, with 4000 plus the status as close code.
        """
        try:
            await self._authorize(connection)
        except HTTPException as error:
            if not isinstance(connection, WebSocket):
                raise
            code = _WEBSOCKET_CODE_BASE + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error
        if isinstance(connection, WebSocket) and _offered_tokens(connection):
            _select_subprotocol(connection)

    async def _authorize(self, connection: Connection) -> None:
        principal = await _authenticate(connection)
        if not self.scopes <= principal.scopes:
            required = " ".join(sorted(self.scopes))
            challenge = _challenge(connection, error="insufficient_scope", scope=required)
            raise PermissionDeniedException(
                f"The token lacks a required scope: {required}.", headers=challenge
            )

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


async def provide_principal(scope: Scope) -> Principal:
    """Return the connection's `Principal`. A route with this dependency requires a valid token."""
    user = scope.get("user")
    return user if isinstance(user, Principal) else await _authenticate(ASGIConnection(scope))


async def _authenticate(connection: Connection) -> Principal:
    """Return the connection's principal, stored as `scope["user"]`; the token is verified once."""
    verifier = _verifier_of(connection)
    known = connection.scope.get("user")
    if isinstance(known, Principal):
        return known
    proofs: Proofs | None = connection.app.state.get(PROOFS_KEY)
    try:
        token, is_dpop = _token_of(connection, accepts_dpop=proofs is not None)
        if token is None:
            # Without an error code (RFC 6750, 3.1).
            raise NotAuthorizedException("An access token is required.", headers=_challenge(connection))
        claims = await verifier.verify(token)
        if proofs is not None:
            proofs.check(connection, token, claims, is_dpop=is_dpop)
        elif claims.cnf is not None:
            _refuse_bound()
    except (TokenError, ProofError) as error:
        reason = str(error)
        log.info("token refused", reason=reason)
        code = "invalid_dpop_proof" if isinstance(error, ProofError) else "invalid_token"
        challenge = _challenge(connection, error=code, error_description=reason)
        raise NotAuthorizedException(f"{reason[0].upper()}{reason[1:]}.", headers=challenge) from None
    except KeysUnavailableError as error:
        raise ServiceUnavailableException(
            "Access tokens cannot be verified at the moment.", headers={"Retry-After": "1"}
        ) from error
    principal = connection.scope["user"] = Principal(
        subject=claims.sub,
        scopes=frozenset(claims.scope.split(" ")) - {""},
        token=token,
        client_id=claims.client_id,
        session_id=claims.sid,
        expires_at=claims.exp,
        _has_ended=verifier.has_ended,
    )
    structlog.contextvars.bind_contextvars(user_id=principal.subject)
    return principal


def _refuse_bound() -> None:
    raise TokenError("the token is bound to a key, which is not accepted here")


def _verifier_of(connection: Connection) -> TokenVerifier:
    verifier = connection.app.state.get(STATE_KEY)
    if not isinstance(verifier, TokenVerifier):
        raise ImproperlyConfiguredException(
            "a guarded route requires an AuthPlugin in the application's plugins"
        )
    return verifier


def _challenge(connection: Connection, **parameters: str) -> dict[str, str]:
    """Return the header of a challenge (RFC 6750, 3); no value may need escaping in a quoted string."""
    parameters = {"realm": _verifier_of(connection).audience, **parameters}
    proofs: Proofs | None = connection.app.state.get(PROOFS_KEY)
    if proofs is not None:
        return {"WWW-Authenticate": proofs.challenge(parameters)}
    quoted = [f'{name}="{value}"' for name, value in parameters.items()]
    return {"WWW-Authenticate": f"Bearer {', '.join(quoted)}"}


def _token_of(connection: Connection, *, accepts_dpop: bool) -> tuple[str | None, bool]:
    """Return the token of a connection, or None, and whether it was sent with the scheme `DPoP`.

    Read from `Authorization: Bearer TOKEN`. Browsers cannot set that header for a WebSocket but can offer
    subprotocols: `new WebSocket(url, ["bearer", TOKEN])`. The query string is not used because it is logged.

    Raises:
        TokenError: There is more than one token.
    """
    parts = [value.strip().partition(" ") for value in connection.headers.getall("authorization", [])]
    found = [credentials.strip() for scheme, _, credentials in parts if scheme.lower() == "bearer"]
    is_dpop = False
    if accepts_dpop:
        bound = [credentials.strip() for scheme, _, credentials in parts if scheme.lower() == "dpop"]
        is_dpop = bool(bound)
        found += bound
    if connection.scope["type"] == ScopeType.WEBSOCKET:
        found += _offered_tokens(connection)
    if len(found) > 1:
        raise TokenError("there is more than one token")
    return (found[0] if found else None), is_dpop


def _offered_tokens(socket: Connection) -> list[str]:
    """Return the tokens among the offered subprotocols: each follows `bearer`."""
    lines = socket.headers.getall("sec-websocket-protocol", [])
    offered = [part.strip() for line in lines for part in line.split(",")]
    return [token for word, token in pairwise(offered) if word == _SUBPROTOCOL]


def _select_subprotocol(socket: WebSocket[Any, Any, Any]) -> None:
    """Select the subprotocol `bearer` on accept, if the handler selects none.

    Browsers close the connection when the server selects none of the offered subprotocols.
    """
    send = socket.send

    async def selecting(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message["subprotocol"] = _SUBPROTOCOL
        await send(message)

    socket.send = selecting
