"""Refresh tokens: opaque, rotated at each use, and stored only as hashes."""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

NONCE_BYTES = 32

_FAMILY_BYTES = 16
_SECRET_BYTES = 32
_CHARACTERS = (_FAMILY_BYTES + _SECRET_BYTES) * 4 // 3


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token of a session.

    All tokens of a session have the same family and different secrets. The family identifies the session for
    a token of any age, so that the reuse of a token is detected however many rotations ago it was replaced.
    """

    _family: bytes = field(repr=False)
    _secret: bytes = field(repr=False)

    @classmethod
    def first(cls) -> Self:
        """Return the first token of a new session."""
        return cls(secrets.token_bytes(_FAMILY_BYTES), secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the token that `encode` has encoded, or `None` for another text."""
        if len(text) != _CHARACTERS:
            return None
        try:
            octets = urlsafe_b64decode(text)
        except (Base64Error, ValueError):
            return None
        # Ignored characters of another alphabet leave too few octets.
        if len(octets) != _FAMILY_BYTES + _SECRET_BYTES:
            return None
        return cls(octets[:_FAMILY_BYTES], octets[_FAMILY_BYTES:])

    def encode(self) -> str:
        """Return the token as 64 URL-safe characters."""
        return urlsafe_b64encode(self._family + self._secret).decode("ascii")

    def successor(self, nonce: bytes) -> Self:
        """Return the token that replaces this one.

        Args:
            nonce: Random bytes of the rotation. With them and this token a repeated rotation has the same
                result, although the successor is stored nowhere; with one of the two it cannot be computed.
        """
        return type(self)(self._family, hmac.digest(self._secret, nonce, "sha256"))

    @property
    def family_hash(self) -> bytes:
        """SHA-256 of the family; 32 bytes."""
        return sha256(self._family).digest()

    @property
    def secret_hash(self) -> bytes:
        """SHA-256 of the secret; 32 bytes. The secret is random, so it needs no salt and no slow hash."""
        return sha256(self._secret).digest()
