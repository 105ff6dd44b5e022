"""Verification of access tokens."""

from time import time
from typing import Annotated, Any, Protocol, final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .._errors import TokenError

MAX_TOKEN_CHARACTERS = 8192
"""Longer tokens are rejected without parsing; typical tokens have a few hundred characters."""

LEEWAY_S = 10.0
"""Tolerated difference between the issuer's clock and the local clock, in seconds."""

_ALGORITHM = "EdDSA"
_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068, 4
_JWS = jwt.PyJWS(algorithms=[_ALGORITHM])

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
# Up to the last second of the year 9999, which also excludes infinity.
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]


class Confirmation(msgspec.Struct, frozen=True):
    """Key that a token is bound to (RFC 7800; RFC 9449, 6.1)."""

    jkt: _Text | None = None


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Claims of an access token (RFC 9068, 2.2)."""

    iss: _Text
    sub: _Text
    aud: _Text | list[_Text]
    exp: _Seconds
    iat: _Seconds
    jti: _Text
    nbf: _Seconds = 0
    client_id: _Text | None = None
    sid: _Text | None = None
    scope: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    cnf: Confirmation | None = None


class KeySource(Protocol):
    """Provider of an issuer's public keys."""

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key with an ID, or None when the issuer has no such key.

        Raises:
            KeysUnavailableError: The keys are currently unknown.
        """


class Revocations(Protocol):
    """Provider of ended sessions."""

    def has_ended(self, session_id: str | None) -> bool:
        """Return whether a session ended before its access tokens expired."""


@final
class TokenVerifier:
    """Verifies access tokens of one issuer for one audience.

    Args:
        keys: Provider of the issuer's keys.
        issuer: Required value of `iss`.
        audience: Required value or element of `aud`, and the realm of challenges.
        revocations: Sessions whose tokens are rejected.
    """

    def __init__(
        self, keys: KeySource, *, issuer: str, audience: str, revocations: Revocations | None = None
    ) -> None:
        self._keys = keys
        self._revocations = revocations
        self._issuer = issuer
        self.audience = audience

    async def verify(self, token: str) -> Claims:
        """Verify a token and return its claims.

        Raises:
            TokenError: The token is rejected.
            KeysUnavailableError: The issuer's keys are currently unknown.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenError("the token is too long")
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise TokenError("the token is signed by an unknown key")
        claims = _verified_claims(token, key)
        if claims.iss != self._issuer:
            raise TokenError("the token is from another issuer")
        if self.audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            raise TokenError("the token is for another audience")
        now = time()
        if claims.exp <= now - LEEWAY_S:
            raise TokenError("the token has expired")
        if max(claims.nbf, claims.iat) > now + LEEWAY_S:
            raise TokenError("the token is not valid yet")
        if self.has_ended(claims.sid):
            raise TokenError("the session has ended")
        return claims

    def has_ended(self, session_id: str | None) -> bool:
        """Return whether a session is known to have ended; long-lived connections should end then."""
        return self._revocations is not None and self._revocations.has_ended(session_id)


def _key_id(token: str) -> str:
    """Return the key ID after checking the other header parameters."""
    try:
        header: dict[str, Any] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenError("the token is malformed") from None
    # The algorithm is fixed here and in `_verified_claims`: a token never selects how it is verified.
    if header.get("alg") != _ALGORITHM or "crit" in header:
        raise TokenError("the token is signed in a way that is not accepted")
    kind = header.get("typ")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenError("the token is not an access token")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= 255:
        raise TokenError("the token does not name its key")
    return kid


def _verified_claims(token: str, key: Ed25519PublicKey) -> Claims:
    try:
        payload = _JWS.decode_complete(token, key, algorithms=[_ALGORITHM])["payload"]
    except (jwt.PyJWTError, ValueError):
        raise TokenError("the token's signature is wrong") from None
    try:
        return msgspec.json.decode(payload, type=Claims)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise TokenError("the token's claims are incomplete or malformed") from None
