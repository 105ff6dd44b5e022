"""Access tokens that are bound to a key of the client (DPoP, RFC 9449), with each database."""

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
from accounts.scopes import SCOPES
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from starkeel_testing import Service, running

SECRET = "secret of the reporter, of 32 characters or more"


class Holder:
    """A client with a key."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._key = Ed25519PrivateKey.generate()
        self._jwk: dict[str, str] = json.loads(OKPAlgorithm.to_jwk(self._key.public_key()))
        canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{self._jwk["x"]}"}}'
        self.thumbprint = _digest(canonical)

    def proof(self, method: str, path: str, token: str | None = None) -> dict[str, str]:
        """Return the header of a proof."""
        claims = {
            "jti": str(uuid4()),
            "htm": method,
            "htu": f"{self._service.url}{path}",
            "iat": int(time.time()),
        }
        if token is not None:
            claims["ath"] = _digest(token)
        headers = {"typ": "dpop+jwt", "jwk": self._jwk}
        return {"DPoP": jwt.encode(claims, self._key, algorithm="EdDSA", headers=headers)}


def _digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def proving(session_database: Callable[[], str]) -> Iterator[Service]:
    clients = [{"id": "reporter", "secrets": [SECRET], "scopes": SCOPES}]
    limits = {f"RATE_LIMIT_{name}": "10000/minute" for name in ("SIGN_UP", "TOKEN", "REFRESH")}
    env = {"DATABASE_URL": session_database(), "JWT_DPOP": "accepted", "SERVICE_CLIENTS": json.dumps(clients)}
    with running("accounts", env | limits) as service:
        yield service


def test_a_session_with_a_proof_is_bound_to_its_key(proving: Service, sign_up: Any) -> None:
    person, holder, thief = sign_up(proving), Holder(proving), Holder(proving)
    signed_in = _sign_in(proving, person, holder.proof("POST", "/api/auth/token"))
    assert signed_in.status_code == 200, signed_in.text
    tokens = signed_in.json()

    assert tokens["token_type"] == "DPoP"
    assert _claims(tokens)["cnf"] == {"jkt": holder.thumbprint}
    assert _me(proving, holder, tokens).status_code == 200
    assert _me(proving, thief, tokens).status_code == 401
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert proving.client.get("/api/users/me", headers=bearer).status_code == 401
    # A stolen refresh token is useless, and its use does not end the session.
    path = "/api/auth/refresh"
    assert _refresh(proving, tokens, {}).status_code == 401
    assert _refresh(proving, tokens, thief.proof("POST", path)).status_code == 401
    refreshed = _refresh(proving, tokens, holder.proof("POST", path))
    assert refreshed.status_code == 200, refreshed.text
    assert refreshed.json()["token_type"] == "DPoP"
    assert _claims(refreshed.json())["cnf"] == {"jkt": holder.thumbprint}
    assert _me(proving, holder, refreshed.json()).status_code == 200


def test_a_session_without_a_proof_has_bearer_tokens(proving: Service, sign_up: Any) -> None:
    person = sign_up(proving)

    tokens = _sign_in(proving, person, {}).json()

    assert tokens["token_type"] == "Bearer"
    assert "cnf" not in _claims(tokens)
    assert proving.client.get("/api/users/me", headers=person.headers).status_code == 200


def test_a_proof_that_is_rejected_or_repeated_gives_no_token(proving: Service, sign_up: Any) -> None:
    person, holder = sign_up(proving), Holder(proving)
    other_path = holder.proof("POST", "/api/auth/refresh")
    proof = holder.proof("POST", "/api/auth/token")

    responses = [_sign_in(proving, person, each) for each in (other_path, {"DPoP": "x"}, proof, proof)]

    assert [response.status_code for response in responses] == [400, 400, 200, 400]
    for response in (responses[0], responses[1], responses[3]):
        assert response.json()["detail"].startswith("invalid_dpop_proof: the proof ")


def test_a_token_of_a_service_can_be_bound(proving: Service) -> None:
    holder, path = Holder(proving), "/api/auth/service-token"

    response = proving.client.post(
        path,
        data={"grant_type": "client_credentials"},
        auth=("reporter", SECRET.replace(" ", "+")),
        headers=holder.proof("POST", path),
    )

    assert response.status_code == 200, response.text
    assert response.json()["token_type"] == "DPoP"
    assert _claims(response.json())["cnf"] == {"jkt": holder.thumbprint}


def _sign_in(service: Service, person: Any, proof: dict[str, str]) -> httpx2.Response:
    credentials = {"email": person.email, "password": person.password}
    return service.client.post("/api/auth/token", json=credentials, headers=proof)


def _refresh(service: Service, tokens: dict[str, Any], proof: dict[str, str]) -> httpx2.Response:
    body = {"refresh_token": tokens["refresh_token"]}
    return service.client.post("/api/auth/refresh", json=body, headers=proof)


def _me(service: Service, holder: Holder, tokens: dict[str, Any]) -> httpx2.Response:
    token = tokens["access_token"]
    headers = {"Authorization": f"DPoP {token}"} | holder.proof("GET", "/api/users/me", token)
    return service.client.get("/api/users/me", headers=headers)


def _claims(tokens: dict[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    return claims
