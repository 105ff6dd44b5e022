"""Signing out, the list of sessions, and what else ends sessions, with each database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import jwt
import pytest
from starkeel_testing import Service

SignUp = Callable[[Service], Any]


@pytest.mark.parametrize("by", ["access token", "refresh token", "replaced refresh token"])
def test_signing_out_ends_the_session(service: Service, sign_up: SignUp, by: str) -> None:
    person = sign_up(service)
    refreshed = _refresh(service, person.refresh_token).json()
    token = refreshed["refresh_token"] if by == "refresh token" else person.refresh_token
    how: dict[str, Any] = (
        {"headers": person.headers} if by == "access token" else {"json": {"refresh_token": token}}
    )

    response = service.client.post("/api/auth/sign-out", **how)
    again = service.client.post("/api/auth/sign-out", **how)

    assert (response.status_code, again.status_code) == (204, 204)
    assert _status(service, person.headers) == 401
    assert _refresh(service, refreshed["refresh_token"]).status_code == 401
    service.wait_for_log("session ended", user_id=person.id, reason="signed_out")


def test_signing_out_requires_a_token(service: Service) -> None:
    _is_problem(service.client.post("/api/auth/sign-out"), 401)
    _is_problem(service.client.post("/api/auth/sign-out", headers=_bearer("x.y.z")), 401)
    assert service.client.post("/api/auth/sign-out", json={"refresh_token": "unknown"}).status_code == 204
    _is_problem(service.client.post("/api/auth/sign-out", json={}), 400)


def test_signing_out_everywhere_ends_all_sessions_of_the_user(service: Service, sign_up: SignUp) -> None:
    person, stranger = sign_up(service), sign_up(service)
    others = [_sign_in(service, person.email, person.password).json() for _ in range(3)]

    response = service.client.post("/api/auth/sign-out-everywhere", headers=person.headers)

    assert response.status_code == 204
    assert _status(service, person.headers) == 401
    for tokens in others:
        assert _status(service, _bearer(tokens["access_token"])) == 401
        assert _refresh(service, tokens["refresh_token"]).status_code == 401
    assert _status(service, stranger.headers) == 200
    assert _sign_in(service, person.email, person.password).status_code == 200


def test_sessions_are_listed_and_ended_one_by_one(service: Service, sign_up: SignUp) -> None:
    person, stranger = sign_up(service), sign_up(service)
    agent = "Browser/1.0 (" + "x" * 200 + ")"
    phone = _sign_in(service, person.email, person.password, **{"User-Agent": agent}).json()

    [newest, oldest] = _sessions(service, person.headers)

    assert newest.keys() == {"id", "client", "created_at", "last_used_at", "expires_at", "is_current"}
    assert (newest["client"], newest["is_current"]) == (agent[:120], False)
    assert (oldest["is_current"], oldest["id"]) == (True, _sid(person.headers))
    path = f"/api/users/me/sessions/{newest['id']}"
    _is_problem(service.client.delete(path, headers=stranger.headers), 404)
    assert service.client.delete(path, headers=person.headers).status_code == 204
    _is_problem(service.client.delete(path, headers=person.headers), 404)
    assert [session["id"] for session in _sessions(service, person.headers)] == [oldest["id"]]
    assert _status(service, _bearer(phone["access_token"])) == 401
    assert _refresh(service, phone["refresh_token"]).status_code == 401


@pytest.mark.parametrize("event", ["password_changed", "deactivated"])
def test_a_changed_password_and_a_deactivation_end_all_sessions(
    service: Service, sign_up: SignUp, make: Any, body: Any, event: str
) -> None:
    person = sign_up(service)
    other = _sign_in(service, person.email, person.password).json()

    if event == "deactivated":
        request = ("DELETE", make.deactivation.build(password=person.password))
    else:
        request = ("PATCH", make.password_change.build(current_password=person.password))
    response = service.client.request(
        request[0], "/api/users/me", headers=person.headers, json=body(request[1])
    )

    assert response.is_success, response.text
    assert _status(service, person.headers) == (403 if event == "deactivated" else 401)
    for token in (person.refresh_token, other["refresh_token"]):
        assert _refresh(service, token).status_code == 401
    service.wait_for_log("session ended", user_id=person.id, reason=event)


@pytest.mark.parametrize("round_", range(3))
def test_no_session_survives_a_concurrent_change_of_the_password(
    service: Service, sign_up: SignUp, make: Any, body: Any, round_: int
) -> None:
    person = sign_up(service)
    change = body(make.password_change.build(current_password=person.password))

    with ThreadPoolExecutor(9) as pool:
        sign_ins = [pool.submit(_sign_in, service, person.email, person.password) for _ in range(8)]
        changed = pool.submit(service.client.patch, "/api/users/me", headers=person.headers, json=change)
        assert changed.result().status_code == 200
        started = [sign_in.result() for sign_in in sign_ins]

    assert {response.status_code for response in started} <= {200, 401}
    for response in started:
        if response.status_code == 200:
            assert _refresh(service, response.json()["refresh_token"]).status_code == 401


def _refresh(service: Service, token: str) -> httpx2.Response:
    return service.client.post("/api/auth/refresh", json={"refresh_token": token})


def _sign_in(service: Service, email: str, password: str, **headers: str) -> httpx2.Response:
    credentials = {"email": email, "password": password}
    return service.client.post("/api/auth/token", json=credentials, headers=headers)


def _status(service: Service, headers: dict[str, str]) -> int:
    return service.client.get("/api/users/me", headers=headers).status_code


def _sessions(service: Service, headers: dict[str, str]) -> list[dict[str, Any]]:
    response = service.client.get("/api/users/me/sessions", headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    sessions: list[dict[str, Any]] = response.json()
    return sessions


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _sid(headers: dict[str, str]) -> str:
    return str(jwt.decode(headers["Authorization"].split()[1], options={"verify_signature": False})["sid"])


def _is_problem(response: httpx2.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
