"""Signing in, and verification of access tokens."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from accounts.scopes import SCOPES
from starkeel_testing import Service


def test_a_token_identifies_its_user(service: Service, make: Any, body: Any) -> None:
    before = service.metric("tokens_issued_total", result="issued")
    request = body(make.sign_up.build())
    user_id = service.client.post("/api/users", json=request).json()["id"]

    response = service.client.post("/api/auth/token", json=request)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json().keys() == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_expires_in",
    }
    assert (response.json()["token_type"], response.json()["expires_in"]) == ("Bearer", 3600)
    claims = _verified(service, response.json()["access_token"])
    assert claims["sub"] == user_id
    assert claims["exp"] - claims["iat"] == 3600
    assert tuple(claims["scope"].split()) == SCOPES
    assert service.metric("tokens_issued_total", result="issued") == before + 1
    service.wait_for_log("token issued", user_id=user_id)
    assert response.json()["access_token"] not in service.output()


def test_an_unknown_address_and_a_wrong_password_get_the_same_response(
    service: Service, make: Any, body: Any
) -> None:
    before = service.metric("tokens_issued_total", result="refused")
    known = make.sign_up.build()
    service.client.post("/api/users", json=body(known))

    wrong = service.client.post("/api/auth/token", json=body(make.credentials.build(email=known.email)))
    unknown = service.client.post("/api/auth/token", json=body(make.credentials.build()))
    invalid_address = service.client.post(
        "/api/auth/token", json=body(make.credentials.build(email="invalid"))
    )

    assert [response.status_code for response in (wrong, unknown, invalid_address)] == [401, 401, 401]
    assert len({_without_request_id(response.json()) for response in (wrong, unknown, invalid_address)}) == 1
    assert wrong.headers["www-authenticate"].startswith("Bearer")
    assert service.metric("tokens_issued_total", result="refused") == before + 3


def test_letter_case_and_whitespace_of_the_address_do_not_matter(
    service: Service, make: Any, body: Any
) -> None:
    request = make.sign_up.build()
    service.client.post("/api/users", json=body(request))

    response = service.client.post(
        "/api/auth/token", json={"email": f" {request.email.upper()} ", "password": request.password}
    )

    assert response.status_code == 200


def test_composed_and_decomposed_passwords_are_equal(service: Service, make: Any, body: Any) -> None:
    request = make.sign_up.build(password="caf\u00e9 au lait, s'il vous pla\u00eet")
    service.client.post("/api/users", json=body(request))

    decomposed = "cafe\u0301 au lait, s'il vous plai\u0302t"
    response = service.client.post("/api/auth/token", json={"email": request.email, "password": decomposed})

    assert response.status_code == 200


def test_only_public_keys_are_published(service: Service) -> None:
    response = service.client.get("/.well-known/jwks.json")

    assert response.status_code == 200
    assert "max-age" in response.headers["cache-control"]
    for key in response.json()["keys"]:
        assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
        assert "kid" in key
        assert "d" not in key


def test_provider_metadata_contains_the_key_url(service: Service) -> None:
    metadata = service.client.get("/.well-known/openid-configuration").json()

    assert metadata["jwks_uri"].endswith("/.well-known/jwks.json")
    assert metadata["token_endpoint"].endswith("/api/auth/token")
    assert metadata["id_token_signing_alg_values_supported"] == ["EdDSA"]


@pytest.mark.parametrize("flaw", ["expired", "other issuer", "other audience", "other key", "no signature"])
def test_a_token_with_a_flaw_is_rejected(
    service: Service, flaw: str, sign_up: Callable[[Service], Any], forged: Callable[..., str]
) -> None:
    person = sign_up(service)
    claims = jwt.decode(person.headers["Authorization"].split()[1], options={"verify_signature": False})

    token = forged(claims, flaw)
    response = service.client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert token not in response.text
    assert token not in service.output()


def test_the_same_token_without_a_flaw_is_accepted(
    service: Service, sign_up: Callable[[Service], Any], forged: Callable[..., str]
) -> None:
    person = sign_up(service)
    claims = jwt.decode(person.headers["Authorization"].split()[1], options={"verify_signature": False})

    token = forged(claims, "none")

    response = service.client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x.y.z", "Basic YTpi", "Bearer a b", "Bearer \xff"]
)
def test_an_invalid_authorization_header_is_rejected(service: Service, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}

    response = service.client.get("/api/users/me", headers=headers)

    assert response.status_code == 401
    assert response.headers["content-type"].startswith("application/problem+json")


def _verified(service: Service, token: str) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(service.client.get("/.well-known/jwks.json").json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key.key, algorithms=["EdDSA"], options={"verify_aud": False, "require": ["exp", "iss", "jti"]}
    )
    assert claims["exp"] > time.time()
    return claims


def _without_request_id(problem: dict[str, Any]) -> str:
    return str({name: value for name, value in problem.items() if name != "request_id"})
