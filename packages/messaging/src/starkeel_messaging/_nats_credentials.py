"""Credentials of NATS: a file `.creds` with a JWT and the seed of its key, or a seed alone (nkey)."""

import base64
import binascii
import re
from typing import Final

_SEED_PREFIX: Final = 18 << 3
_USER_PREFIX: Final = 20 << 3
_SECTION: Final = re.compile(r"-{3,}BEGIN ([A-Z ]+)-{3,}\s+(\S+)\s+-{3,}END [A-Z ]+-{3,}")
_JWT: Final = "NATS USER JWT"
_SEED: Final = "USER NKEY SEED"


class NatsCredentials:
    """A user of NATS that signs what the server sends.

    Args:
        text: The content of a file `.creds`, or the seed of a user (`SU...`).

    Attributes:
        jwt: The user's JWT, if there is one.

    Raises:
        ValueError: It is neither; the message has no part of it.
    """

    def __init__(self, text: str) -> None:
        sections = dict(_SECTION.findall(text))
        self.jwt: str | None = sections.get(_JWT)
        seed = sections.get(_SEED, "") if sections else text.strip()
        if sections and self.jwt is None:
            raise ValueError("has no JWT of a user")
        self._seed = _decoded(seed)

    def __repr__(self) -> str:
        """Return no part of the credentials."""
        return "NatsCredentials(...)"

    def sign(self, nonce: str) -> bytes:
        """Return the signature of what the server has sent, in base 64."""
        # Imported where it is used: only NATS needs it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.from_private_bytes(self._seed)
        return base64.b64encode(key.sign(nonce.encode()))

    def public_key(self) -> str:
        """Return the public key of the user (`U...`)."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.from_private_bytes(self._seed).public_key()
        coded = bytes([_USER_PREFIX]) + key.public_bytes_raw()
        return base64.b32encode(coded + _checksum(coded)).decode().rstrip("=")


def _decoded(seed: str) -> bytes:
    """Return the 32 bytes of a seed."""
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        raise ValueError("has no seed of a user (SU...)") from None
    coded, checksum = raw[:-2], raw[-2:]
    if len(coded) != 34 or _checksum(coded) != checksum:
        raise ValueError("has no seed of a user (SU...)")
    prefix = (coded[0] & 7) << 5 | coded[1] >> 3
    if coded[0] & 0xF8 != _SEED_PREFIX or prefix != _USER_PREFIX:
        raise ValueError("has a seed that is not that of a user (SU...)")
    return coded[2:]


def _checksum(coded: bytes) -> bytes:
    return binascii.crc_hqx(coded, 0).to_bytes(2, "little")
