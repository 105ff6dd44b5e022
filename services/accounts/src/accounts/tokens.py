"""Access tokens (RFC 9068), and the keys that sign them: configured, or generated once in development."""

import os
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_config import Secret

from .scopes import SCOPES


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Signs access tokens."""

    keys: SigningKeys
    issuer: str
    audience: str
    service_lifetime_s: int = 600

    def issue_to_service(self, client_id: str, *, scope: str, key: str | None) -> tuple[str, int]:
        """Return a new access token of a registered client, and its lifetime in seconds.

        Args:
            client_id: Subject of the token.
            scope: Its scopes.
            key: Thumbprint of the key that it is bound to, if any.
        """
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            # RFC 9068, 2.2: without a user, the subject is the client.
            "sub": client_id,
            "aud": self.audience,
            "client_id": client_id,
            "iat": now,
            "exp": now + self.service_lifetime_s,
            "jti": str(uuid4()),
            "scope": scope,
        }
        return self.keys.sign(_bound(claims, key)), self.service_lifetime_s

    def issue(
        self,
        user_id: UUID,
        *,
        session_id: UUID,
        issued_at: datetime,
        expires_at: datetime,
        key: str | None = None,
    ) -> str:
        """Return a new access token for a session of a user, bound to the key with a thumbprint, if any."""
        return self.keys.sign(
            _bound(
                {
                    "iss": self.issuer,
                    "sub": str(user_id),
                    "aud": self.audience,
                    "client_id": "accounts",
                    "iat": int(issued_at.timestamp()),
                    "exp": int(expires_at.timestamp()),
                    "jti": str(uuid4()),
                    "sid": str(session_id),
                    "scope": " ".join(SCOPES),
                },
                key,
            )
        )


def _bound(claims: dict[str, Any], key: str | None) -> dict[str, Any]:
    # RFC 9449, 6.1.
    return claims if key is None else claims | {"cnf": {"jkt": key}}


def signing_keys(private_key: Secret | None, *, database_url: str) -> SigningKeys:
    """Return the keys that sign and verify access tokens.

    Args:
        private_key: `JWT_PRIVATE_KEY`; `None` only in development.
        database_url: The development key is stored next to its SQLite file, so that tokens survive a restart.
    """
    if private_key is not None:
        return SigningKeys.from_pem(private_key.reveal())
    database = _sqlite_file(database_url) or Path(".data/accounts.db")
    file = database.with_suffix(".jwt-private-key.pem")
    return SigningKeys.deferred(lambda: _development_key(file))


def _sqlite_file(database_url: str) -> Path | None:
    scheme, _, rest = database_url.partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if scheme.startswith("sqlite") and path and path != ":memory:" else None


def _development_key(path: Path) -> str:
    """Read the key, after generating it if it does not exist.

    Processes may start concurrently. Creating a hard link is atomic and fails if the file exists, so all of
    them read the same, complete key.
    """
    if path.exists():
        return path.read_text("ascii")
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(generate_private_key_pem())
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text("ascii")
