"""Validation of proofs of possession (DPoP, RFC 9449): the sender of a token has its key."""

import re
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from hashlib import sha256
from hmac import compare_digest
from time import time
from typing import Annotated, Any, Final, Literal, final
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .._errors import ProofError

ALGORITHMS: Final = ("ES256", "EdDSA")
"""Accepted algorithms: asymmetric, with keys and signatures of a fixed size."""

MAX_PROOF_CHARACTERS: Final = 4096
MAX_AGE_S: Final = 60.0
"""Seconds for which a proof can be used."""
LEEWAY_S: Final = 10.0
"""Tolerated difference between the client's clock and the local clock, in seconds."""
MAX_REMEMBERED: Final = 100_000
"""Maximum number of remembered proofs of a worker, about 20 MB."""

_TYPE: Final = "dpop+jwt"
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SCHEMES: Final = {"ws": "http", "wss": "https"}
_PORTS: Final = {"http": 80, "https": 443}
_ESCAPED: Final = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(f"{string.ascii_letters}{string.digits}-._~")
_JWS: Final = jwt.PyJWS(algorithms=list(ALGORITHMS))

_Coordinate = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$")]
_PublicKey = EllipticCurvePublicKey | Ed25519PublicKey


class _EllipticKey(msgspec.Struct, frozen=True, tag_field="kty", tag="EC"):
    crv: Literal["P-256"]
    x: _Coordinate
    y: _Coordinate

    def public_key(self) -> _PublicKey:
        numbers = EllipticCurvePublicNumbers(_number(self.x), _number(self.y), SECP256R1())
        return numbers.public_key()

    def thumbprint(self) -> str:
        return _digest(f'{{"crv":"P-256","kty":"EC","x":"{self.x}","y":"{self.y}"}}')


class _EdwardsKey(msgspec.Struct, frozen=True, tag_field="kty", tag="OKP"):
    crv: Literal["Ed25519"]
    x: _Coordinate

    def public_key(self) -> _PublicKey:
        return Ed25519PublicKey.from_public_bytes(_octets(self.x))

    def thumbprint(self) -> str:
        return _digest(f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}')


class _Claims(msgspec.Struct, frozen=True):
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    htm: Annotated[str, msgspec.Meta(max_length=32)]
    htu: Annotated[str, msgspec.Meta(max_length=2048)]
    iat: Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]
    ath: Annotated[str, msgspec.Meta(max_length=64)] | None = None


@final
class ProofVerifier:
    """Validates proofs (RFC 9449, 4.3), each of which can be used once.

    Used proofs are remembered in this process until they expire, at most `MAX_REMEMBERED`; above that the
    oldest are forgotten, and could be used again until their expiry, with the same token at the same URL.
    """

    def __init__(self) -> None:
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def verify(
        self, proof: str, *, method: str, url: str, token: str | None = None, bound: str | None = None
    ) -> str:
        """Return the thumbprint (RFC 7638) of the key that has signed a proof.

        Args:
            proof: Value of the header `DPoP`.
            method: Method of the request.
            url: URL of the request; query and fragment do not matter.
            token: The access token that is sent with it; `None` at a token endpoint.
            bound: Thumbprint of the required key; `None` accepts any key.

        Raises:
            ProofError: The proof is rejected. The message contains nothing of it.
        """
        if len(proof) > MAX_PROOF_CHARACTERS:
            raise ProofError("the proof is too long")
        key, algorithm = _key_of(proof)
        claims = _verified_claims(proof, key, algorithm)
        if claims.htm != method:
            raise ProofError("the proof is for another method")
        if _target(claims.htu) != _target(url):
            raise ProofError("the proof is for another URL")
        now = time()
        if not now - MAX_AGE_S <= claims.iat <= now + LEEWAY_S:
            raise ProofError("the proof has expired or is not valid yet")
        if token is not None and not compare_digest((claims.ath or "").encode(), _digest(token).encode()):
            raise ProofError("the proof is for another token")
        thumbprint = key.thumbprint()
        # Before the proof is remembered: proofs of other keys must not displace those of the token's.
        if bound is not None and not compare_digest(thumbprint.encode(), bound.encode("utf-8", "replace")):
            raise ProofError("the token is bound to another key")
        self._use(sha256(f"{thumbprint}\0{claims.jti}".encode("utf-8", "replace")).digest(), now)
        return thumbprint

    def _use(self, proof_id: bytes, now: float) -> None:
        used = self._used
        if used.get(proof_id, 0.0) >= now:
            raise ProofError("the proof was used before")
        while used and (next(iter(used.values())) < now or len(used) >= MAX_REMEMBERED):
            used.popitem(last=False)
        # Kept for the longest validity, so that the order of insertion is that of expiry.
        used[proof_id] = now + MAX_AGE_S + LEEWAY_S
        used.move_to_end(proof_id)


def _key_of(proof: str) -> tuple[_EllipticKey | _EdwardsKey, str]:
    try:
        header: dict[str, Any] = jwt.get_unverified_header(proof)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ProofError("the proof is malformed") from None
    if header.get("typ") != _TYPE:
        raise ProofError("the proof has another type")
    algorithm, key = header.get("alg"), header.get("jwk")
    if algorithm not in ALGORITHMS or "crit" in header:
        raise ProofError("the proof is signed in a way that is not accepted")
    if not isinstance(key, dict) or not _PRIVATE.isdisjoint(key):
        raise ProofError("the proof has no public key, or a private one")
    try:
        parsed = msgspec.convert(key, _EllipticKey | _EdwardsKey)
    except (msgspec.ValidationError, ValueError):
        raise ProofError("the proof has no key that is accepted") from None
    # Each algorithm has one kind of key: a token must not select another one.
    if isinstance(parsed, _EllipticKey) != (algorithm == "ES256"):
        raise ProofError("the proof has a key for another algorithm")
    return parsed, algorithm


def _verified_claims(proof: str, key: _EllipticKey | _EdwardsKey, algorithm: str) -> _Claims:
    try:
        payload = _JWS.decode_complete(proof, key.public_key(), algorithms=[algorithm])["payload"]
    except (jwt.PyJWTError, ValueError):
        raise ProofError("the proof's signature is wrong") from None
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProofError("the proof's claims are incomplete or malformed") from None


def _target(url: str) -> tuple[str, str, int | None, str]:
    """Return a URL without query and fragment, normalised (RFC 3986, 6.2.2 and 6.2.3)."""
    try:
        parts = urlsplit(url)
        scheme = _SCHEMES.get(parts.scheme, parts.scheme)
        port = parts.port or _PORTS.get(scheme)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise ProofError("the proof is for another URL") from None
    if not host or parts.username is not None or parts.password is not None:
        raise ProofError("the proof is for another URL")
    return scheme, host, port, _ESCAPED.sub(_normalised, parts.path) or "/"


def _normalised(escaped: re.Match[str]) -> str:
    character = chr(int(escaped[1], 16))
    return character if character in _UNRESERVED else escaped[0].upper()


def _digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode("utf-8", "replace")).digest()).rstrip(b"=").decode()


def _octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=")


def _number(text: str) -> int:
    return int.from_bytes(_octets(text), "big")
