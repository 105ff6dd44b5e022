"""Registered clients: services that get access tokens of their own by client credentials (RFC 6749, 4.4)."""

from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Self, final
from urllib.parse import unquote_plus

import msgspec
from msgspec import Meta
from starkeel_config import Secret

from .scopes import SCOPES

_MAX_HEADER = 2048
_Scope = Annotated[str, Meta(pattern=r"^[!#-\[\]-~]+$", max_length=128)]


class ServiceClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registered client.

    Args:
        id: Subject of its tokens; begins with a letter, so that it is not taken for the ID of a user.
        secrets: Accepted secrets of at least 32 characters; two during a rotation.
        scopes: Scopes that it may request; empty for routes that require none.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,30}$")]
    secrets: Annotated[list[Annotated[str, Meta(min_length=32, max_length=256)]], Meta(min_length=1)]
    scopes: list[_Scope]

    def __repr__(self) -> str:
        return f"ServiceClient({self.id!r})"


@final
class ServiceClients:
    """The registered clients; their secrets are kept as hashes."""

    def __init__(self, clients: Sequence[ServiceClient]) -> None:
        self._by_id = {client.id: client for client in clients}
        self._hashes = {client.id: [_hash(secret) for secret in client.secrets] for client in clients}
        # Compared for unknown clients, so that they take the same time.
        self._none = [_hash("")]

    @classmethod
    def parse(cls, clients: Secret | None) -> Self:
        """Read the value of `SERVICE_CLIENTS`; without it there are no clients.

        Raises:
            ValueError: It is invalid; the message contains nothing of it.
        """
        if clients is None:
            return cls([])
        try:
            found = msgspec.json.decode(clients.reveal(), type=list[ServiceClient])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            # Not chained: the message of the parser may quote its input.
            raise ValueError(
                'is not a JSON array of {"id": ..., "secrets": [...], "scopes": [...]}; a secret has at least'
                " 32 characters"
            ) from None
        if len({client.id for client in found}) != len(found):
            raise ValueError("contains a client twice; a client may have several secrets")
        if not {scope for client in found for scope in client.scopes} <= set(SCOPES):
            raise ValueError(f"contains a scope that no service owns; scopes: {', '.join(SCOPES) or 'none'}")
        return cls(found)

    def authenticate(self, authorization: str) -> ServiceClient | None:
        """Return the client of an `Authorization: Basic` header, or `None`."""
        given = _credentials(authorization)
        client_id, secret = given or ("", "")
        hashed = _hash(secret)
        # All are compared: the duration depends on neither the secret nor the client.
        matches = [compare_digest(hashed, each) for each in self._hashes.get(client_id, self._none)]
        return self._by_id.get(client_id) if given is not None and any(matches) else None


def _credentials(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _MAX_HEADER:
        return None
    try:
        client_id, colon, secret = b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:
        return None
    # Both parts are form-encoded (RFC 6749, 2.3.1).
    return (unquote_plus(client_id), unquote_plus(secret)) if colon else None


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "replace")).digest()
