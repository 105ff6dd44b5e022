"""Ed25519 signing keys, with rotation."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, Self, final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def generate_private_key_pem() -> str:
    """Generate an Ed25519 private key in the format of `SigningKeys.from_pem`."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


@final
class SigningKeys:
    """The issuer's private keys: the first signs; all of them verify and are published.

    To rotate, append the new key and restart all instances. When all verifiers have fetched it
    (`JWT_JWKS_REFRESH_SECONDS` plus cache lifetimes), move it to the front and restart. Remove the old key
    when the last token it signed has expired.
    """

    def __init__(self, private_keys: list[Ed25519PrivateKey] | Callable[[], list[Ed25519PrivateKey]]) -> None:
        """Create a key set; the first key signs.

        Raises:
            ValueError: The list is empty or contains a key twice.
        """
        self._read = private_keys if callable(private_keys) else lambda: private_keys
        if not callable(private_keys):
            self.load()

    def load(self) -> None:
        """Read the keys of a deferred key set, unless they are read.

        Raises:
            ValueError: There is no key, or one is unusable.
        """
        _ = self._public

    @cached_property
    def _private(self) -> dict[str, Ed25519PrivateKey]:
        private_keys = self._read()
        by_id = {key_id(key.public_key()): key for key in private_keys}
        if not by_id:
            raise ValueError("contains no key")
        if len(by_id) != len(private_keys):
            raise ValueError("contains a key twice")
        return by_id

    @cached_property
    def _public(self) -> dict[str, Ed25519PublicKey]:
        return {kid: key.public_key() for kid, key in self._private.items()}

    @classmethod
    def from_pem(cls, text: str) -> Self:
        r"""Read keys from PKCS#8 PEM blocks.

        Args:
            text: Consecutive blocks. A line end may be written `\n`, as files of environment variables do.

        Raises:
            ValueError: A block is not such a key; the message contains its number and none of its content.
        """
        return cls(_private_keys(text))

    @classmethod
    def deferred(cls, read: Callable[[], str]) -> Self:
        """Create a key set that reads its PEM blocks when the application starts, not when it is created.

        Args:
            read: Returns the blocks, as for `from_pem`.
        """
        return cls(lambda: _private_keys(read()))

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a signed access token (RFC 9068).

        Args:
            claims: `iss`, `sub`, `aud`, `iat`, `exp`, `jti` and others; times are Unix time in seconds.
        """
        # Imported here: not needed to validate the key in the settings.
        import jwt

        kid, key = next(iter(self._private.items()))
        return jwt.encode(dict(claims), key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": kid})

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JSON Web Key Set (RFC 7517, RFC 8037), the signing key first."""
        usage = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA"}
        keys = {kid: _base64url(key.public_bytes_raw()) for kid, key in self._public.items()}
        return {"keys": [{**usage, "kid": kid, "x": x} for kid, x in keys.items()]}

    def derived_key(self, purpose: str) -> bytes:
        """Return a secret of 32 bytes that depends on the signing key and a purpose (HKDF, RFC 5869).

        It changes when another key signs.
        """
        signing = next(iter(self._private.values()))
        return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(signing.private_bytes_raw())

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the public key with an ID, or None. Implements `KeySource`."""
        return self._public.get(kid)

    def __repr__(self) -> str:
        return f"SigningKeys({', '.join(self._public)})"


def key_id(key: Ed25519PublicKey) -> str:
    """Return the ID of a key: its JWK thumbprint (RFC 7638)."""
    # Required members in lexicographic order without spaces (RFC 7638, 3.2; RFC 8037, 2).
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(key.public_bytes_raw())}"}}'
    return _base64url(sha256(canonical.encode()).digest())


def _private_keys(text: str) -> list[Ed25519PrivateKey]:
    text = text.replace("\\n", "\n")
    if _BLOCK.sub("", text).strip():
        raise ValueError("contains text outside of complete PEM blocks")
    blocks = enumerate(_BLOCK.finditer(text), start=1)
    return [_private_key(block[0], block[1], number) for number, block in blocks]


def _private_key(pem: str, label: str, number: int) -> Ed25519PrivateKey:
    if label == "ENCRYPTED PRIVATE KEY":
        raise ValueError(f"contains an encrypted key (block {number}); decrypt it first")
    if label != "PRIVATE KEY":
        raise ValueError(f"contains a {label} (block {number}), not a PKCS#8 PRIVATE KEY")
    try:
        key = load_pem_private_key(pem.encode("ascii"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: the parser's message may quote its input.
        raise ValueError(f"contains an unreadable private key (block {number})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"contains a private key that is not Ed25519 (block {number})")  # noqa: TRY004  (a bad value)
    return key


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
