"""Parsing of key sets: unsupported keys, repeated ids, arbitrary documents."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_auth._tokens.jwks import KeySetError, parse_key_set

IGNORED: dict[str, dict[str, Any]] = {
    "another type": {"kty": "RSA"},
    "another curve": {"crv": "X25519"},
    "another algorithm": {"alg": "ES256"},
    "for encryption": {"use": "enc"},
    "for signing": {"key_ops": ["sign"]},
    "a private key": {"d": "AAAA"},
    "no ID": {"kid": None},
    "an ID that is not a string": {"kid": ["k"]},
    "a key that is too short": {"x": "AAAA"},
    "a key that is not a string": {"x": 7},
    "a key that is not base64": {"x": "é" * 43},
}


@pytest.mark.parametrize("wrong", IGNORED.values(), ids=IGNORED)
def test_unsupported_keys_are_ignored(keys: SigningKeys, wrong: dict[str, Any]) -> None:
    good = keys.jwks()["keys"][0]
    other = SigningKeys.from_pem(generate_private_key_pem()).jwks()["keys"][0]

    found = parse_key_set(msgspec.json.encode({"keys": [other | wrong, "text", None, good]}))

    assert list(found) == [good["kid"]]


def test_the_first_key_with_an_id_is_kept(keys: SigningKeys) -> None:
    good = keys.jwks()["keys"][0]
    other = SigningKeys.from_pem(generate_private_key_pem()).jwks()["keys"][0] | {"kid": good["kid"]}

    assert parse_key_set(msgspec.json.encode({"keys": [good, other]})) == parse_key_set(
        msgspec.json.encode({"keys": [good]})
    )


@given(st.binary())
def test_arbitrary_documents_raise_no_other_error(document: bytes) -> None:
    with suppress(KeySetError):
        assert all(isinstance(name, str) for name in parse_key_set(document))
