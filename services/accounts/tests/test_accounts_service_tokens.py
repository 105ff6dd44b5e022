"""Access tokens of services by client credentials."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx2
import jwt
import pytest
from accounts.scopes import SCOPES
from starkeel_testing import Service, exits, running

OLD, NEW = "old secret of the reporter, 32 characters", "new secret of the reporter, with % and : inside"
CLIENTS = json.dumps([{"id": "reporter", "secrets": [OLD, NEW], "scopes": SCOPES}])
FEWER = " ".join(SCOPES[:1])
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("issuing")
    clients = directory / "clients.json"
    clients.write_text(CLIENTS)
    env = {
        "DATABASE_URL": f"sqlite:///{directory}/accounts.sqlite",
        "SERVICE_CLIENTS_FILE": str(clients),
        "SERVICE_TOKEN_SECONDS": "120",
        "RATE_LIMIT_SERVICE_TOKEN": "10000/minute",
    }
    with running("accounts", env) as service:
        yield service


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_client_gets_a_token_with_its_scopes(issuing: Service, secret: str) -> None:
    response = _token(issuing, _basic("reporter", secret), GRANT)

    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 120)
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["sub"] == claims["client_id"] == "reporter"
    assert claims["scope"] == body["scope"] == " ".join(SCOPES)
    assert claims["exp"] - claims["iat"] == 120
    assert "sid" not in claims


def test_a_client_can_request_fewer_scopes_and_no_others(issuing: Service) -> None:
    fewer = _token(issuing, _basic("reporter", OLD), GRANT | {"scope": FEWER})
    others = _token(issuing, _basic("reporter", OLD), GRANT | {"scope": f"{FEWER} users:write"})

    assert fewer.json()["scope"] == FEWER
    assert others.status_code == 400
    assert "scope" in others.text
    assert "users:write" not in others.text


def test_a_token_of_a_service_is_not_that_of_a_user(issuing: Service) -> None:
    token = _token(issuing, _basic("reporter", OLD), GRANT).json()["access_token"]

    response = issuing.client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 403


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic cmVwb3J0ZXI=",
        "Bearer x",
        "wrong secret",
        "unknown client",
        "prefix of the secret",
        "Basic " + "A" * 4000,
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b":").decode(),
    ],
)
def test_wrong_credentials_are_refused_alike(issuing: Service, authorization: str) -> None:
    named = {
        "wrong secret": _basic("reporter", "x" * 40),
        "unknown client": _basic("other", OLD),
        "prefix of the secret": _basic("reporter", OLD[:-1]),
    }
    before = issuing.metric("security_events_total", event="service_client_refused")

    response = _token(issuing, named.get(authorization, authorization), GRANT)

    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == 'Basic realm="accounts"'
    assert response.json()["detail"] == "The client or its secret is wrong."
    assert issuing.metric("security_events_total", event="service_client_refused") == before + 1
    assert OLD not in issuing.output()


@pytest.mark.parametrize("form", [{}, {"grant_type": "password"}, {"scope": FEWER}])
def test_other_grants_are_rejected(issuing: Service, form: dict[str, str]) -> None:
    response = _token(issuing, _basic("reporter", OLD), form)

    assert response.status_code == 400
    assert "grant_type" in response.text


@pytest.mark.parametrize(
    "clients",
    [
        "garbage",
        json.dumps([{"id": "reporter", "secrets": ["too short"], "scopes": SCOPES}]),
        json.dumps([{"id": "0190", "secrets": ["x" * 32], "scopes": SCOPES}]),
        json.dumps([{"id": "reporter", "secrets": ["x" * 32], "scopes": SCOPES}] * 2),
        json.dumps([{"id": "reporter", "secret": "x" * 32, "scopes": SCOPES}]),
    ],
)
def test_invalid_clients_are_rejected_and_not_in_the_output(tmp_path: Path, clients: str) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/a.sqlite", "SERVICE_CLIENTS": clients}

    finished = exits("accounts", env)

    assert finished.code == 78
    assert "SERVICE_CLIENTS" in finished.output
    assert "too short" not in finished.output
    assert "x" * 32 not in finished.output


def test_a_scope_that_no_service_owns_is_rejected(tmp_path: Path) -> None:
    clients = [{"id": "reporter", "secrets": [OLD], "scopes": [*SCOPES, "no-such:scope"]}]
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/a.sqlite", "SERVICE_CLIENTS": json.dumps(clients)}

    finished = exits("accounts", env)

    assert finished.code == 78
    assert f"contains a scope that no service owns; scopes: {', '.join(SCOPES)}" in finished.output
    assert "no-such:scope" not in finished.output


def _basic(client_id: str, secret: str) -> str:
    quoted = f"{client_id}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(quoted.encode()).decode()}"


def _token(service: Service, authorization: str, form: dict[str, Any]) -> httpx2.Response:
    return service.client.post("/api/auth/service-token", data=form, headers={"Authorization": authorization})
