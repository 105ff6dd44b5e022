"""Tokens of the reference server, signed with Ed25519."""

import base64
import hmac
import json
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_KEY = Ed25519PrivateKey.generate()
_RAW = _KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
_PEM = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(value: object) -> str:
    return _base64url(json.dumps(value).encode())


def token(*, lifetime_s: int = 3600, audience: str = "reference") -> str:
    text = f"{_part({'alg': 'EdDSA', 'typ': 'JWT'})}."
    text += _part({"sub": "a-user", "aud": audience, "exp": int(time.time()) + lifetime_s})
    return f"{text}.{_base64url(_KEY.sign(text.encode()))}"


def is_signed(text: str, signature: str) -> bool:
    try:
        _KEY.public_key().verify(base64.urlsafe_b64decode(f"{signature}=="), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def is_signed_with_public_key(text: str, signature: str) -> bool:
    """Return whether the signature is HMAC with the public key, which must never be accepted."""
    return hmac.compare_digest(_base64url(hmac.digest(_PEM, text.encode(), "sha256")), signature)


def key_set() -> bytes:
    key = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(_RAW)}
    return json.dumps({"keys": [key]}).encode()
