"""Encodings of public keys, compared with those of a library."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from seatrial._families.public_keys import secrets_of


def _text(value: int | bytes, size: int | None = None) -> str:
    data = value if isinstance(value, bytes) else value.to_bytes(size or (value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _elliptic(curve: ec.EllipticCurve, name: str) -> tuple[Any, dict[str, str]]:
    key = ec.generate_private_key(curve).public_key()
    size = curve.key_size // 8
    numbers = key.public_numbers()
    return key, {"kty": "EC", "crv": name, "x": _text(numbers.x, size), "y": _text(numbers.y, size)}


def _rsa(size: int) -> tuple[Any, dict[str, str]]:
    key = rsa.generate_private_key(65537, size).public_key()
    numbers = key.public_numbers()
    return key, {"kty": "RSA", "n": _text(numbers.n), "e": _text(numbers.e)}


def _ed25519() -> tuple[Any, dict[str, str]]:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key, {"kty": "OKP", "crv": "Ed25519", "x": _text(key.public_bytes_raw())}


@pytest.mark.parametrize(
    "pair",
    [
        _rsa(2048),
        _rsa(1032),
        _elliptic(ec.SECP256R1(), "P-256"),
        _elliptic(ec.SECP384R1(), "P-384"),
        _ed25519(),
    ],
    ids=["RSA 2048", "RSA 1032", "P-256", "P-384", "Ed25519"],
)
def test_forms_of_a_key_are_those_of_a_library(pair: tuple[Any, dict[str, str]]) -> None:
    key, document = pair
    forms = dict(secrets_of(document))
    assert forms["PEM"] == key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert forms["DER"] == key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "document", [{}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": 1}, {"kty": "oct", "k": "a"}]
)
def test_other_keys_have_no_forms(document: dict[str, Any]) -> None:
    assert not list(secrets_of(document))
