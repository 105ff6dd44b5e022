"""Access tokens (RFC 9068)."""

import time
from dataclasses import dataclass
from uuid import UUID, uuid4

from starkeel_auth import SigningKeys

SCOPES = ("orders:read", "orders:write")
"""Scopes of every user."""


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Signs access tokens."""

    keys: SigningKeys
    issuer: str
    audience: str
    lifetime_s: int

    def issue(self, user_id: UUID) -> str:
        """Return a new access token for a user."""
        now = int(time.time())
        return self.keys.sign(
            {
                "iss": self.issuer,
                "sub": str(user_id),
                "aud": self.audience,
                "client_id": "accounts",
                "iat": now,
                "exp": now + self.lifetime_s,
                "jti": str(uuid4()),
                "scope": " ".join(SCOPES),
            }
        )
