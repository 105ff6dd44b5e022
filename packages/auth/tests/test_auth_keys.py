"""Signing keys: parsing, publication, rejection."""

import json
from base64 import urlsafe_b64decode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from starkeel_auth import SigningKeys, generate_private_key_pem

# Key and thumbprint from RFC 8037, appendix A.
RFC_8037_D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def pem(
    key: PrivateKeyTypes,
    encryption: KeySerializationEncryption | None = None,
    layout: PrivateFormat = PrivateFormat.PKCS8,
) -> str:
    return key.private_bytes(Encoding.PEM, layout, encryption or NoEncryption()).decode()


def test_the_key_id_is_the_thumbprint() -> None:
    private = Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(RFC_8037_D + "="))

    (published,) = SigningKeys.from_pem(pem(private)).jwks()["keys"]

    assert published == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": RFC_8037_X,
        "kid": RFC_8037_THUMBPRINT,
        "use": "sig",
        "alg": "EdDSA",
    }


def test_the_first_key_signs_and_all_are_published() -> None:
    first, second = generate_private_key_pem(), generate_private_key_pem()

    keys = SigningKeys.from_pem(first + "\n" + second)

    published = keys.jwks()["keys"]
    header = jwt.get_unverified_header(keys.sign({"sub": "u"}))
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": published[0]["kid"]}
    assert (
        published == SigningKeys.from_pem(first).jwks()["keys"] + SigningKeys.from_pem(second).jwks()["keys"]
    )


def test_a_token_is_verified_by_another_library() -> None:
    text = generate_private_key_pem()

    token = SigningKeys.from_pem(text).sign({"sub": "u", "aud": "a"})

    public = load_pem_private_key(text.encode(), None).public_key()
    assert isinstance(public, type(Ed25519PrivateKey.generate().public_key()))
    assert jwt.decode(token, public, algorithms=["EdDSA"], audience="a") == {"sub": "u", "aud": "a"}


def test_line_ends_may_be_escaped() -> None:
    text = generate_private_key_pem()

    assert SigningKeys.from_pem(text.strip().replace("\n", "\\n")).jwks() == SigningKeys.from_pem(text).jwks()


def test_private_keys_are_not_published_or_displayed() -> None:
    text = generate_private_key_pem()
    secret = "".join(text.splitlines()[1:-1])

    keys = SigningKeys.from_pem(text)

    assert secret not in repr(keys)
    assert all("d" not in entry for entry in keys.jwks()["keys"])


REFUSED = {
    "nothing": ("", "no key"),
    "text": ("not a key", "outside"),
    "text around": ("key: " + generate_private_key_pem(), "outside"),
    "half a block": (generate_private_key_pem()[:60], "outside"),
    "RSA": (pem(rsa.generate_private_key(65537, 2048)), "not Ed25519"),
    "an elliptic curve": (pem(ec.generate_private_key(ec.SECP256R1())), "not Ed25519"),
    "Ed448": (pem(ed448.Ed448PrivateKey.generate()), "not Ed25519"),
    "an encrypted key": (pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"pw")), "encrypted"),
    "another format": (
        pem(rsa.generate_private_key(65537, 2048), layout=PrivateFormat.TraditionalOpenSSL),
        "RSA PRIVATE KEY",
    ),
    "a public key": (
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode(),
        "PUBLIC KEY",
    ),
    "a broken key": (
        "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----",
        "unreadable",
    ),
    "a broken second key": (
        generate_private_key_pem() + "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
        "block 2",
    ),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_an_invalid_key_is_rejected_with_a_reason_and_without_its_content(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        SigningKeys.from_pem(text)

    shown = str(caught.value)
    assert not any(line in shown for line in text.splitlines() if len(line) > 20 and "-----" not in line)
    assert caught.value.__cause__ is None


def test_a_duplicate_key_is_rejected() -> None:
    text = generate_private_key_pem()

    with pytest.raises(ValueError, match="twice"):
        SigningKeys.from_pem(text + text)


@given(st.text())
def test_arbitrary_text_raises_only_value_errors(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (any message)
        SigningKeys.from_pem(f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----")


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_claims_are_signed_unchanged(claims: dict[str, object]) -> None:
    payload = SigningKeys.from_pem(generate_private_key_pem()).sign({"sub": "u"} | claims).split(".")[1]

    assert json.loads(urlsafe_b64decode(payload + "===")) == {"sub": "u"} | claims


def test_a_derived_key_depends_on_the_signing_key_and_the_purpose() -> None:
    one, other = generate_private_key_pem(), generate_private_key_pem()
    keys = SigningKeys.from_pem(one)

    assert len(keys.derived_key("a")) == 32
    assert keys.derived_key("a") == SigningKeys.from_pem(one + other).derived_key("a")
    assert keys.derived_key("a") != keys.derived_key("b")
    assert keys.derived_key("a") != SigningKeys.from_pem(other + one).derived_key("a")
