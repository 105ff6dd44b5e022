"""Proofs of possession (DPoP, RFC 9449) of connections."""

from collections.abc import Mapping
from typing import Any, final

from litestar.connection import ASGIConnection

from ._errors import ProofError, TokenError
from ._tokens.dpop import ALGORITHMS, ProofVerifier
from ._tokens.verifier import Claims

Connection = ASGIConnection[Any, Any, Any, Any]

PROOFS_KEY = "starkeel_auth_proofs"
_HEADER = "dpop"


@final
class Proofs:
    """Checks that the sender of a token has the key that it is bound to.

    Args:
        is_required: Whether tokens that are bound to no key are rejected.
    """

    def __init__(self, *, is_required: bool) -> None:
        self._is_required = is_required
        self._verifier = ProofVerifier()

    def check(self, connection: Connection, token: str, claims: Claims, *, is_dpop: bool) -> None:
        """Check the proof of a verified token.

        Args:
            connection: Its header `DPoP` has the proof.
            token: As received.
            claims: Those of the token.
            is_dpop: Whether the token was sent with the scheme `DPoP`.

        Raises:
            TokenError: The token is bound and was sent as a bearer token, or the reverse, or is not bound
                although that is required.
            ProofError: The proof is missing or rejected.
        """
        bound = None if claims.cnf is None else claims.cnf.jkt
        if bound is None:
            if claims.cnf is not None:
                raise TokenError("the token is bound in a way that is not accepted")
            if is_dpop or self._is_required:
                raise TokenError("the token is not bound to a key")
            return
        if not is_dpop:
            # RFC 9449, 7.2: a bound token must not be downgraded to a bearer token.
            raise TokenError("the token is bound to a key; send it with the scheme DPoP")
        proofs = connection.headers.getall(_HEADER, [])
        if len(proofs) != 1:
            raise ProofError("there is no proof, or more than one")
        self._verifier.verify(
            proofs[0],
            method=str(connection.scope.get("method", "GET")),
            url=_url(connection),
            token=token,
            bound=bound,
        )

    def key_of(self, connection: Connection) -> str | None:
        """Return the thumbprint of the key that has signed the proof of a token request; see `proven_key`."""
        proofs = connection.headers.getall(_HEADER, [])
        if not proofs and not self._is_required:
            return None
        if len(proofs) != 1:
            raise ProofError("there is no proof, or more than one")
        method = str(connection.scope.get("method", "GET"))
        return self._verifier.verify(proofs[0], method=method, url=_url(connection))

    def challenge(self, parameters: Mapping[str, str]) -> str:
        """Return the value of a challenge: for DPoP, and for bearer tokens if they are accepted."""
        quoted = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        challenge = f'DPoP {quoted}, algs="{" ".join(ALGORITHMS)}"'
        return challenge if self._is_required else f"Bearer {quoted}, {challenge}"


def proven_key(connection: Connection) -> str | None:
    """Return the thumbprint of the key that a new token for this request is to be bound to (`cnf.jkt`).

    `None` if the request has no proof or `JWT_DPOP` is off.

    Raises:
        ProofError: The proof is rejected, or is missing although `JWT_DPOP` is `required`.
    """
    proofs: Proofs | None = connection.app.state.get(PROOFS_KEY)
    return None if proofs is None else proofs.key_of(connection)


def _url(connection: Connection) -> str:
    """Return the URL as the client has sent it; scheme and host are those of trusted proxies."""
    scope = connection.scope
    path = (scope.get("raw_path") or b"").decode("latin-1") or scope["path"]
    return f"{scope['scheme']}://{connection.headers.get('host', '')}{path}"
