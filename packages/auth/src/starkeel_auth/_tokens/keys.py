"""Keys that sign access tokens: Ed25519, several of them so that they can be replaced."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Self, final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def generate_private_key_pem() -> str:
    """Make a new Ed25519 private key, as `SigningKeys.from_pem` reads it."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


@final
class SigningKeys:
    """The issuer's own keys: the first signs, every one verifies and is published.

    To replace a key put the new one behind it, restart every instance, wait until every verifier has fetched
    it (`JWT_JWKS_REFRESH_SECONDS` and what caches keep), put it first, and drop the old one when the last
    token signed by it has expired.
    """

    __slots__ = ("_private", "_public")

    def __init__(self, private_keys: list[Ed25519PrivateKey]) -> None:
        """Take keys, the signing one first.

        Raises:
            ValueError: There is none, or one twice.
        """
        self._private = {key_id(key.public_key()): key for key in private_keys}
        self._public = {kid: key.public_key() for kid, key in self._private.items()}
        if not self._private:
            raise ValueError("holds no key")
        if len(self._private) != len(private_keys):
            raise ValueError("holds a key twice")

    @classmethod
    def from_pem(cls, text: str) -> Self:
        r"""Read keys from PKCS#8 PEM blocks, one after the other.

        Args:
            text: The blocks. A line end may be written `\n`, as files of environment variables do.

        Raises:
            ValueError: Something in it is no such key; the message tells which block and never what is in it.
        """
        text = text.replace("\\n", "\n")
        if _BLOCK.sub("", text).strip():
            raise ValueError("holds something besides whole PEM blocks")
        blocks = list(_BLOCK.finditer(text))
        return cls([_private_key(block[0], block[1], number) for number, block in enumerate(blocks, start=1)])

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a signed access token (RFC 9068).

        Args:
            claims: `iss`, `sub`, `aud`, `iat`, `exp`, `jti`, and whatever else; times in seconds since 1970.
        """
        # Late: those who only check that the settings hold a key do without.
        import jwt

        kid, key = next(iter(self._private.items()))
        return jwt.encode(dict(claims), key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": kid})

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JSON Web Key Set (RFC 7517, RFC 8037), the signing one first."""
        return {"keys": [_published(kid, key) for kid, key in self._public.items()]}

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, as a `KeySource`."""
        return self._public.get(kid)

    def __repr__(self) -> str:
        return f"SigningKeys({', '.join(self._public)})"


def key_id(key: Ed25519PublicKey) -> str:
    """Name a key after what it is: its JWK thumbprint (RFC 7638)."""
    # Required members in lexicographic order, no spaces: RFC 7638, 3.2 and RFC 8037, 2.
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{_x(key)}"}}'
    return _base64url(sha256(canonical.encode("ascii")).digest())


def _private_key(pem: str, label: str, number: int) -> Ed25519PrivateKey:
    if label == "ENCRYPTED PRIVATE KEY":
        raise ValueError(f"holds an encrypted key (block {number}); decrypt it first")
    if label != "PRIVATE KEY":
        raise ValueError(f"holds a {label} (block {number}), not a PKCS#8 PRIVATE KEY")
    try:
        key = load_pem_private_key(pem.encode("ascii"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: what the parser says may quote what it parsed.
        raise ValueError(f"holds a private key that cannot be read (block {number})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"holds a private key that is not Ed25519 (block {number})")  # noqa: TRY004  (a bad value)
    return key


def _published(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": _x(key), "kid": kid, "use": "sig", "alg": "EdDSA"}


def _x(key: Ed25519PublicKey) -> str:
    return _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
