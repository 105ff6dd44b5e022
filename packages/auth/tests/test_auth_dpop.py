"""Proofs of possession (DPoP, RFC 9449): attacks on proofs and tokens."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from starkeel_auth import (
    AuthPlugin,
    IssuerSettings,
    Principal,
    ProofError,
    ProofVerifier,
    SigningKeys,
    authenticated,
)

Claims = Callable[..., dict[str, Any]]

URL = "http://testserver.local/private"


class Holder:
    """A client with a key."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.key = generate_private_key(SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()
        kind: Any = ECAlgorithm if algorithm == "ES256" else OKPAlgorithm
        self.private_jwk: dict[str, str] = json.loads(kind.to_jwk(self.key))
        self.jwk: dict[str, str] = json.loads(kind.to_jwk(self.key.public_key()))
        members = {name: self.jwk[name] for name in sorted(self.jwk) if name in {"crv", "kty", "x", "y"}}
        self.thumbprint = _digest(json.dumps(members, separators=(",", ":")))

    def proof(self, token: str | None = None, *, headers: Any = (), **changed: Any) -> str:
        """Return a proof; `name=None` omits a claim."""
        claims = {"jti": str(uuid4()), "htm": "GET", "htu": URL, "iat": int(time.time())}
        if token is not None:
            claims["ath"] = _digest(token)
        claims = {name: value for name, value in (claims | changed).items() if value is not None}
        sent = {"typ": "dpop+jwt", "jwk": self.jwk} | dict(headers)
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers=sent)


def _digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "url",
    [
        "http://testserver.local/private?page=2#part",
        "HTTP://TESTSERVER.LOCAL:80/private",
        "http://testserver.local/%70rivate",
        "ws://testserver.local/private",
    ],
)
def test_urls_are_compared_normalised(url: str) -> None:
    holder = Holder()

    assert ProofVerifier().verify(holder.proof(), method="GET", url=url) == holder.thumbprint


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"htu": "http://other.example/private"}, "another URL"),
        ({"htu": "https://testserver.local/private"}, "another URL"),
        ({"htu": "http://testserver.local:81/private"}, "another URL"),
        ({"htu": "http://testserver.local/private/"}, "another URL"),
        ({"htu": "http://user@testserver.local/private"}, "another URL"),
        ({"htu": "http://[::1/private"}, "another URL"),
        ({"htu": "/private"}, "another URL"),
        ({"htm": "get"}, "another method"),
        ({"htm": "POST"}, "another method"),
        ({"iat": 0}, "expired"),
        ({"iat": 9_999_999_999}, "not valid yet"),
        ({"iat": "now"}, "incomplete or malformed"),
        ({"jti": None}, "incomplete or malformed"),
        ({"jti": ""}, "incomplete or malformed"),
        ({"jti": "x" * 300}, "incomplete or malformed"),
        ({"htu": None}, "incomplete or malformed"),
        ({"ath": None}, "another token"),
        ({"ath": "x"}, "another token"),
        ({"padding": "x" * 5000}, "too long"),
        ({"headers": {"typ": "JWT"}}, "another type"),
        ({"headers": {"typ": "at+jwt"}}, "another type"),
        ({"headers": {"crit": ["exp"]}}, "malformed"),
        ({"headers": {"jwk": None}}, "no public key"),
        ({"headers": {"jwk": "private"}}, "or a private one"),
        ({"headers": {"jwk": "other"}}, "signature is wrong"),
        ({"headers": {"jwk": "edwards"}}, "another algorithm"),
        ({"headers": {"jwk": {"kty": "oct", "k": "AAAA"}}}, "or a private one"),
        ({"headers": {"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}}, "no key that is accepted"),
        ({"headers": {"jwk": {"kty": "EC", "crv": "P-384", "x": "A" * 43, "y": "A" * 43}}}, "no key that is"),
        (
            {"headers": {"jwk": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}}},
            "signature is wrong",
        ),
    ],
    ids=str,
)
def test_flawed_proofs_are_rejected(flaw: dict[str, Any], reason: str) -> None:
    holder = Holder()
    named = {"private": holder.private_jwk, "other": Holder().jwk, "edwards": Holder("EdDSA").jwk}
    flaw = dict(flaw)
    if "headers" in flaw:
        flaw["headers"] = {
            name: named.get(value, value) if isinstance(value, str) else value
            for name, value in flaw["headers"].items()
        }

    with pytest.raises(ProofError, match=reason):
        ProofVerifier().verify(holder.proof("token", **flaw), method="GET", url=URL, token="token")


@pytest.mark.parametrize("proof", ["", "x", "x.y.z", "é.é.é", "." * 4000])
def test_malformed_proofs_are_rejected(proof: str) -> None:
    with pytest.raises(ProofError):
        ProofVerifier().verify(proof, method="GET", url=URL)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_symmetric_and_missing_signatures_are_rejected(algorithm: str) -> None:
    claims = {"jti": "1", "htm": "GET", "htu": URL, "iat": int(time.time())}
    secret = None if algorithm == "none" else "x" * 32
    headers = {"typ": "dpop+jwt", "jwk": Holder().jwk}
    proof = jwt.encode(claims, secret, algorithm=algorithm, headers=headers)

    with pytest.raises(ProofError, match="in a way that is not accepted"):
        ProofVerifier().verify(proof, method="GET", url=URL)


def test_the_memory_of_used_proofs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starkeel_auth._tokens.dpop.MAX_REMEMBERED", 3)
    verifier, holder = ProofVerifier(), Holder("EdDSA")
    proofs = [holder.proof() for _ in range(5)]
    for proof in proofs:
        verifier.verify(proof, method="GET", url=URL)

    for proof in proofs[2:]:
        with pytest.raises(ProofError, match="used before"):
            verifier.verify(proof, method="GET", url=URL)
    assert len(verifier._used) == 3


@get("/private", guards=[authenticated])
async def private(principal: NamedDependency[Principal]) -> str:
    return principal.subject


@pytest.fixture
def client(keys: SigningKeys) -> Iterator[Callable[[str], TestClient[Litestar]]]:
    """Return a function that starts an application with a value of `JWT_DPOP`."""
    started: list[TestClient[Litestar]] = []

    def start(dpop: Any) -> TestClient[Litestar]:
        settings = IssuerSettings(issuer="https://accounts.example.com", audience="fleet", dpop=dpop)
        client = TestClient(Litestar([private], plugins=[AuthPlugin.issuer(settings, keys)]))
        client.__enter__()
        started.append(client)
        return client

    yield start
    for each in started:
        each.__exit__(None, None, None)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
@pytest.mark.parametrize("dpop", ["accepted", "required"])
def test_a_bound_token_is_accepted_with_a_proof_once(
    client: Any, keys: SigningKeys, claims: Claims, dpop: str, algorithm: str
) -> None:
    holder, calling = Holder(algorithm), client(dpop)
    token = keys.sign(claims(cnf={"jkt": holder.thumbprint}))
    headers = {"Authorization": f"DPoP {token}", "DPoP": holder.proof(token)}

    first, again = (calling.get("/private", headers=headers) for _ in range(2))

    assert first.status_code == 200, first.text
    _is_refused(again, "invalid_dpop_proof", "used before")


# The test client joins headers of the same name, as proxies do.
@pytest.mark.parametrize(
    ("attack", "code", "reason"),
    [
        ("stolen token as a bearer token", "invalid_token", "with the scheme DPoP"),
        ("stolen token without a proof", "invalid_dpop_proof", "no proof"),
        ("stolen token with a proof of another key", "invalid_dpop_proof", "another key"),
        ("proof for another token", "invalid_dpop_proof", "another token"),
        ("proof without a token", "invalid_dpop_proof", "another token"),
        ("two proofs", "invalid_dpop_proof", "malformed"),
        ("unbound token with the scheme DPoP", "invalid_token", "not bound"),
        ("token that is bound to a certificate", "invalid_token", "not accepted"),
        ("two tokens", "invalid_token", "malformed"),
    ],
)
def test_attacks_on_bound_tokens_are_refused(
    client: Any, keys: SigningKeys, claims: Claims, attack: str, code: str, reason: str
) -> None:
    holder, thief, calling = Holder(), Holder(), client("accepted")
    token = keys.sign(claims(cnf={"jkt": holder.thumbprint}))
    unbound, certified = keys.sign(claims()), keys.sign(claims(cnf={"x5t#S256": "x"}))
    sent: dict[str, list[tuple[str, str]]] = {
        "stolen token as a bearer token": [
            ("Authorization", f"Bearer {token}"),
            ("DPoP", thief.proof(token)),
        ],
        "stolen token without a proof": [("Authorization", f"DPoP {token}")],
        "stolen token with a proof of another key": [
            ("Authorization", f"DPoP {token}"),
            ("DPoP", thief.proof(token)),
        ],
        "proof for another token": [("Authorization", f"DPoP {token}"), ("DPoP", holder.proof(unbound))],
        "proof without a token": [("Authorization", f"DPoP {token}"), ("DPoP", holder.proof())],
        "two proofs": [
            ("Authorization", f"DPoP {token}"),
            ("DPoP", holder.proof(token)),
            ("DPoP", holder.proof(token)),
        ],
        "unbound token with the scheme DPoP": [
            ("Authorization", f"DPoP {unbound}"),
            ("DPoP", holder.proof(unbound)),
        ],
        "token that is bound to a certificate": [("Authorization", f"Bearer {certified}")],
        "two tokens": [
            ("Authorization", f"DPoP {token}"),
            ("Authorization", f"Bearer {unbound}"),
            ("DPoP", holder.proof(token)),
        ],
    }

    _is_refused(calling.get("/private", headers=sent[attack]), code, reason)


def test_unbound_tokens_are_accepted_unless_a_proof_is_required(
    client: Any, keys: SigningKeys, claims: Claims
) -> None:
    headers = {"Authorization": f"Bearer {keys.sign(claims())}"}

    assert client("off").get("/private", headers=headers).status_code == 200
    assert client("accepted").get("/private", headers=headers).status_code == 200
    _is_refused(client("required").get("/private", headers=headers), "invalid_token", "not bound")


def test_without_dpop_bound_tokens_are_refused(client: Any, keys: SigningKeys, claims: Claims) -> None:
    holder, calling = Holder(), client("off")
    token = keys.sign(claims(cnf={"jkt": holder.thumbprint}))

    bearer = calling.get("/private", headers={"Authorization": f"Bearer {token}"})
    dpop = calling.get("/private", headers={"Authorization": f"DPoP {token}", "DPoP": holder.proof(token)})

    assert (bearer.status_code, dpop.status_code) == (401, 401)
    assert "bound to a key" in bearer.headers["www-authenticate"]
    assert dpop.headers["www-authenticate"] == 'Bearer realm="fleet"'


def test_challenges_name_the_accepted_schemes(client: Any) -> None:
    algorithms = 'algs="ES256 EdDSA"'

    assert _challenge(client("off")) == 'Bearer realm="fleet"'
    assert _challenge(client("accepted")) == f'Bearer realm="fleet", DPoP realm="fleet", {algorithms}'
    assert _challenge(client("required")) == f'DPoP realm="fleet", {algorithms}'


def _challenge(calling: Any) -> str:
    response = calling.get("/private")
    assert response.status_code == 401
    return str(response.headers["www-authenticate"])


def _is_refused(response: httpx2.Response, code: str, reason: str) -> None:
    assert response.status_code == 401, response.text
    challenge = response.headers["www-authenticate"]
    assert f'error="{code}"' in challenge
    assert reason in challenge
