"""Rejected tokens: 401 with a challenge for every kind of error."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar import Litestar, get
from litestar.testing import TestClient
from starkeel_auth import (
    AuthPlugin,
    IssuerSettings,
    SigningKeys,
    TokenError,
    TokenVerifier,
    authenticated,
    generate_private_key_pem,
)

ISSUER, AUDIENCE = "https://accounts.example.com", "fleet"
Claims = Callable[..., dict[str, Any]]
Bearer = Callable[..., dict[str, str]]


@get("/guarded", guards=[authenticated])
async def guarded() -> str:
    return "in"


@pytest.fixture(scope="module")
def client(keys: SigningKeys) -> Iterator[TestClient[Litestar]]:
    settings = IssuerSettings(issuer=ISSUER, audience=AUDIENCE)
    with TestClient(Litestar([guarded], plugins=[AuthPlugin.issuer(settings, keys)])) as client:
        yield client


def encoded(part: object) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def assert_rejected(client: TestClient[Litestar], token: str) -> None:
    answer = client.get("/guarded", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith(f'Bearer realm="{AUDIENCE}", error="invalid_token", error_description="')


def test_a_valid_token_is_accepted(client: TestClient[Litestar], bearer: Bearer) -> None:
    assert client.get("/guarded", headers=bearer()).status_code == 200
    assert client.get("/guarded", headers=bearer(aud=["other", AUDIENCE], client_id=None)).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_case_insensitive(client: TestClient[Litestar], bearer: Bearer, scheme: str) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")

    assert client.get("/guarded", headers={"Authorization": f"{scheme} {token}"}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic dXNlcjpwdw=="}, {"Authorization": "x"}])
def test_the_challenge_for_a_missing_token_has_no_error_code(
    client: TestClient[Litestar], headers: dict[str, str]
) -> None:
    answer = client.get("/guarded", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{AUDIENCE}"'


def test_a_token_in_the_query_string_is_ignored(client: TestClient[Litestar], bearer: Bearer) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")

    assert client.get("/guarded", params={"access_token": token}).status_code == 401


async def test_two_tokens_are_rejected(client: TestClient[Litestar], bearer: Bearer) -> None:
    # Litestar's test client would join the two headers.
    transport = httpx2.ASGITransport(client.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://orders.example.com") as plain:
        answer = await plain.get("/guarded", headers=[*bearer().items(), *bearer().items()])

    assert answer.status_code == 401
    assert "more than one" in answer.headers["WWW-Authenticate"]


WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example.com"},
    "an issuer with a suffix": {"iss": ISSUER + "/"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "other"},
    "other audiences": {"aud": ["other", "more"]},
    "no audience": {"aud": None},
    "an audience with a suffix": {"aud": AUDIENCE + "x"},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is not a string": {"sub": 7},
    "a subject that is too long": {"sub": "x" * 256},
    "expired": {"exp": int(time.time()) - 3600},
    "no expiry": {"exp": None},
    "an expiry that is a string": {"exp": "tomorrow"},
    "an infinite expiry": {"exp": float("inf")},
    "an expiry that is NaN": {"exp": float("nan")},
    "a huge expiry": {"exp": 10**400},
    "a negative expiry": {"exp": -1},
    "not valid yet": {"nbf": int(time.time()) + 3600},
    "issued in the future": {"iat": int(time.time()) + 3600},
    "no time of issue": {"iat": None},
    "no token ID": {"jti": None},
    "scopes in a list": {"scope": ["orders:read"]},
}


@pytest.mark.parametrize("wrong", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_a_token_with_invalid_claims_is_rejected(
    client: TestClient[Litestar], keys: SigningKeys, claims: Claims, wrong: dict[str, Any]
) -> None:
    assert_rejected(client, keys.sign(claims(**wrong)))


async def test_a_token_expires_after_a_leeway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tested without Litestar to control the clock."""
    keys = SigningKeys.from_pem(generate_private_key_pem())
    now = 1_000_000.0
    monkeypatch.setattr("starkeel_auth._tokens.verifier.time", lambda: now)
    verifier = TokenVerifier(keys, issuer="i", audience="a")
    token = keys.sign({"iss": "i", "aud": "a", "sub": "u", "iat": 999_990, "exp": 1_000_000, "jti": "1"})

    assert (await verifier.verify(token)).sub == "u"
    now += 10
    with pytest.raises(TokenError, match="expired"):
        await verifier.verify(token)
    now = 999_979
    with pytest.raises(TokenError, match="not valid yet"):
        await verifier.verify(token)


def unsigned(keys: SigningKeys, claims: dict[str, Any]) -> str:
    kid = keys.jwks()["keys"][0]["kid"]
    return jwt.encode(claims, "", algorithm="none", headers={"typ": "at+jwt", "kid": kid})


def signed_by_the_public_key(keys: SigningKeys, claims: dict[str, Any]) -> str:
    """Return a token that a verifier accepts if it lets the token select HS256."""
    published = keys.jwks()["keys"][0]
    head = encoded({"alg": "HS256", "typ": "at+jwt", "kid": published["kid"]})
    signed = f"{head}.{encoded(claims)}"
    mac = hmac.new(published["x"].encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def with_header(keys: SigningKeys, claims: dict[str, Any], **changed: Any) -> str:
    """Return a correctly signed token with a modified header."""
    (key,) = keys._private.values()
    header = {"typ": "at+jwt", "kid": keys.jwks()["keys"][0]["kid"]} | changed
    present = {name: value for name, value in header.items() if value is not None}
    signed = f"{encoded({'alg': 'EdDSA'} | present)}.{encoded(claims)}"
    return f"{signed}.{urlsafe_b64encode(key.sign(signed.encode())).rstrip(b'=').decode()}"


def signed_by_another(keys: SigningKeys, claims: dict[str, Any]) -> str:
    """Return a token signed by another key under the expected key ID, with that key in its header."""
    other = SigningKeys.from_pem(generate_private_key_pem())
    return with_header(other, claims, kid=keys.jwks()["keys"][0]["kid"], jwk=other.jwks()["keys"][0])


FORGERIES: dict[str, Callable[[SigningKeys, dict[str, Any]], str]] = {
    "no signature": unsigned,
    "HS256 with the public key": signed_by_the_public_key,
    "another key": signed_by_another,
    "an unknown key": lambda _, claims: SigningKeys.from_pem(generate_private_key_pem()).sign(claims),
    "no key ID": lambda keys, claims: with_header(keys, claims, kid=None),
    "a numeric key ID": lambda keys, claims: with_header(keys, claims, kid=7),
    "a long key ID": lambda keys, claims: with_header(keys, claims, kid="k" * 300),
    "another token type": lambda keys, claims: with_header(keys, claims, typ="JWT"),
    "no token type": lambda keys, claims: with_header(keys, claims, typ=None),
    "a token type that is not a string": lambda keys, claims: with_header(keys, claims, typ=["at+jwt"]),
    "another algorithm": lambda keys, claims: with_header(keys, claims, alg="Ed448"),
    "an algorithm that is not a string": lambda keys, claims: with_header(keys, claims, alg=["EdDSA"]),
    "an unknown critical extension": lambda keys, claims: with_header(keys, claims, crit=["x"], x=1),
    "an unencoded payload": lambda keys, claims: with_header(keys, claims, crit=["b64"], b64=False),
    "claims that are not an object": lambda keys, _: with_header(keys, []),  # type: ignore[arg-type]  # malicious
    "a truncated signature": lambda keys, claims: keys.sign(claims)[:-4],
    "no signature part": lambda keys, claims: keys.sign(claims).rpartition(".")[0],
    "five parts": lambda keys, claims: keys.sign(claims) + ".a.b",
    "too long": lambda keys, claims: keys.sign(claims | {"pad": "x" * 9000}),
    "an empty token": lambda keys, claims: "",
    "garbage": lambda keys, claims: "~!..,=",
    "a deeply nested header": lambda keys, claims: urlsafe_b64encode(b"[" * 5000).decode() + ".e30.AA",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_is_rejected(
    client: TestClient[Litestar],
    keys: SigningKeys,
    claims: Claims,
    forge: Callable[[SigningKeys, dict[str, Any]], str],
) -> None:
    assert_rejected(client, forge(keys, claims()))


@settings(max_examples=300, deadline=None)
@given(st.data())
async def test_any_modified_token_is_rejected(data: st.DataObject) -> None:
    keys = _KEYS
    token = keys.sign({"iss": "i", "aud": "a", "sub": "u", "iat": 1, "exp": 2**33, "jti": "1", "scope": "s"})
    verifier = TokenVerifier(keys, issuer="i", audience="a")
    begin = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(begin, len(token)))
    changed = token[:begin] + data.draw(st.text(max_size=20)) + token[end:]

    # Trailing padding is the only other encoding of the same token.
    if changed.rstrip("=") == token:
        return
    with pytest.raises(TokenError):
        await verifier.verify(changed)


@settings(max_examples=300, deadline=None)
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), inner)
        ),
    ),
    claims=st.binary(max_size=64),
    signature=st.binary(max_size=64),
)
async def test_any_well_formed_foreign_token_is_rejected(
    header: object, claims: bytes, signature: bytes
) -> None:
    parts = [json.dumps(header).encode(), claims, signature]
    token = ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    with pytest.raises(TokenError):
        await TokenVerifier(_KEYS, issuer="i", audience="a").verify(token)


@given(st.text())
def test_any_authorization_header_without_a_valid_token_returns_401(
    client_for_text: TestClient[Litestar], text: str
) -> None:
    value = f"Bearer {text}".encode("utf-8", "replace")

    answer = client_for_text.get("/guarded", headers={b"Authorization": value})

    assert answer.status_code == 401


@pytest.fixture(scope="module")
def client_for_text(client: TestClient[Litestar]) -> TestClient[Litestar]:
    return client


_KEYS = SigningKeys.from_pem(generate_private_key_pem())
