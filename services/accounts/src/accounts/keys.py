"""The key that signs access tokens: given in production, made once in development."""

import os
import secrets
from pathlib import Path

from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_config import Secret

_FALLBACK = Path(".data/accounts.db")


def signing_keys(private_key: Secret | None, *, database_url: str) -> SigningKeys:
    """Return the keys to sign and to verify with.

    Args:
        private_key: `JWT_PRIVATE_KEY`; None in development only.
        database_url: Beside its file the development key is kept, so that tokens outlive a restart.
    """
    if private_key is not None:
        return SigningKeys.from_pem(private_key.reveal())
    database = _sqlite_file(database_url) or _FALLBACK
    return SigningKeys.from_pem(_kept_key(database.with_suffix(".jwt-private-key.pem")))


def _sqlite_file(database_url: str) -> Path | None:
    scheme, _, rest = database_url.partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if scheme.startswith("sqlite") and path and path != ":memory:" else None


def _kept_key(path: Path) -> str:
    """Read the key, making it first where there is none.

    Two processes may start at once: a link either appears whole or fails because the other's is there,
    so both read the same key and neither a half-written one.
    """
    if path.exists():
        return path.read_text("ascii")
    path.parent.mkdir(parents=True, exist_ok=True)
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
