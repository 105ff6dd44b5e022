"""Sessions: rotation and reuse of refresh tokens, signing out, list of sessions, with each database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import jwt
import pytest
from accounts.app import create_app
from accounts.session_table import UserSession
from accounts.sessions import delete_old_sessions
from accounts.settings import Settings
from accounts.users import User
from sqlalchemy import select
from starkeel_config import load
from starkeel_db import DatabasePlugin
from starkeel_testing import Service, running

SignUp = Callable[[Service], Any]
NO_LIMIT = {f"RATE_LIMIT_{name}": "10000/minute" for name in ("SIGN_UP", "TOKEN", "REFRESH", "PASSWORD")}


def test_a_refresh_replaces_both_tokens_of_the_session(service: Service, sign_up: SignUp) -> None:
    person = sign_up(service)
    before = service.metric("session_refreshes_total", result="rotated")

    response = _refresh(service, person.refresh_token)

    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert tokens["refresh_token"] != person.refresh_token
    assert (tokens["expires_in"], tokens["refresh_expires_in"]) == (3600, 7 * 24 * 3600)
    claims, first = _claims(tokens["access_token"]), _claims(person.headers["Authorization"].split()[1])
    assert (claims["sub"], claims["sid"]) == (person.id, first["sid"])
    assert claims["jti"] != first["jti"]
    assert _status(service, _bearer(tokens["access_token"])) == 200
    assert _refresh(service, tokens["refresh_token"]).status_code == 200
    assert service.metric("session_refreshes_total", result="rotated") == before + 2
    service.wait_for_log("session refreshed", sid=claims["sid"], user_id=person.id)
    for token in (person.refresh_token, tokens["refresh_token"]):
        assert token not in service.output()


def test_a_repeated_refresh_returns_the_same_token_while_that_is_unused(
    service: Service, sign_up: SignUp
) -> None:
    person = sign_up(service)

    first, again = (_refresh(service, person.refresh_token) for _ in range(2))

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["refresh_token"] == first.json()["refresh_token"]
    assert _status(service, _bearer(again.json()["access_token"])) == 200


def test_a_replaced_token_ends_the_session_once_its_successor_was_used(
    service: Service, sign_up: SignUp
) -> None:
    before = service.metric("sessions_ended_total", reason="refresh_token_reused")
    person = sign_up(service)
    second = _refresh(service, person.refresh_token).json()["refresh_token"]
    third = _refresh(service, second).json()

    reused = _refresh(service, person.refresh_token)

    _is_problem(reused, 401)
    assert _refresh(service, third["refresh_token"]).status_code == 401
    rejected = service.client.get("/api/users/me", headers=_bearer(third["access_token"]))
    _is_problem(rejected, 401)
    assert 'error="invalid_token"' in rejected.headers["www-authenticate"]
    line = service.wait_for_log("refresh token reused", user_id=person.id)
    assert line["level"] == "WARN"
    service.wait_for_log("session ended", user_id=person.id, reason="refresh_token_reused")
    assert service.metric("sessions_ended_total", reason="refresh_token_reused") == before + 1


def test_the_oldest_token_of_a_session_is_recognised(service: Service, sign_up: SignUp) -> None:
    person = sign_up(service)
    token = person.refresh_token
    for _ in range(5):
        token = _refresh(service, token).json()["refresh_token"]

    assert _refresh(service, person.refresh_token).status_code == 401
    assert _refresh(service, token).status_code == 401


def test_a_repetition_after_the_grace_period_ends_the_session(no_grace: Service, sign_up: SignUp) -> None:
    person = sign_up(no_grace)
    tokens = _refresh(no_grace, person.refresh_token).json()

    assert _refresh(no_grace, person.refresh_token).status_code == 401
    assert _refresh(no_grace, tokens["refresh_token"]).status_code == 401


def test_a_session_of_another_device_is_unaffected_by_reuse(service: Service, sign_up: SignUp) -> None:
    person = sign_up(service)
    other = _sign_in(service, person.email, person.password).json()
    tokens = _refresh(service, person.refresh_token).json()
    _refresh(service, tokens["refresh_token"])
    assert _refresh(service, person.refresh_token).status_code == 401

    assert _refresh(service, other["refresh_token"]).status_code == 200


def test_of_concurrent_refreshes_one_chain_of_tokens_remains(service: Service, sign_up: SignUp) -> None:
    person = sign_up(service)

    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(lambda _: _refresh(service, person.refresh_token), range(50)))

    assert {response.status_code for response in responses} == {200}
    [token] = {response.json()["refresh_token"] for response in responses}
    assert _refresh(service, token).status_code == 200
    assert {_status(service, _bearer(response.json()["access_token"])) for response in responses} == {200}


@pytest.mark.parametrize("token", ["x", "A" * 64, "é" * 64, "=" * 64, "A" * 63 + "\n", "A" * 512])
def test_an_unknown_refresh_token_is_refused(service: Service, token: str) -> None:
    response = _refresh(service, token)

    _is_problem(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert token not in response.text


def test_a_token_with_a_wrong_secret_does_not_end_the_session_of_another_family(
    service: Service, sign_up: SignUp
) -> None:
    one, other = sign_up(service), sign_up(service)

    # The first 16 of 48 bytes are the family; 21 characters are within them.
    assert _refresh(service, "A" * 21 + one.refresh_token[21:]).status_code == 401

    assert _refresh(service, one.refresh_token).status_code == 200
    assert _refresh(service, other.refresh_token).status_code == 200


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


def test_the_least_recently_used_session_above_the_limit_ends(
    accounts_env: dict[str, str], sign_up: SignUp
) -> None:
    with running("accounts", accounts_env | {"SESSIONS_PER_USER": "2"}) as service:
        person = sign_up(service)
        second = _sign_in(service, person.email, person.password).json()
        used = _refresh(service, person.refresh_token).json()
        third = _sign_in(service, person.email, person.password).json()

        statuses = [_status(service, _bearer(tokens["access_token"])) for tokens in (used, second, third)]

        assert statuses == [200, 401, 200]
        service.wait_for_log("session ended", reason="limit")


def test_no_token_outlives_its_session(accounts_env: dict[str, str], sign_up: SignUp) -> None:
    lifetimes = {"SESSION_LIFETIME_HOURS": "2", "SESSION_IDLE_HOURS": "1", "JWT_EXPIRATION_HOURS": "3"}
    with running("accounts", accounts_env | lifetimes) as service:
        person = sign_up(service)

        tokens = _sign_in(service, person.email, person.password).json()

        assert (tokens["expires_in"], tokens["refresh_expires_in"]) == (7200, 7200)


def test_refreshes_are_limited_by_address(accounts_env: dict[str, str], sign_up: SignUp) -> None:
    with running("accounts", accounts_env | {"RATE_LIMIT_REFRESH": "3/hour"}) as service:
        statuses = [_refresh(service, "unknown").status_code for _ in range(4)]

        assert statuses == [401, 401, 401, 429]


async def test_only_sessions_without_a_valid_token_are_deleted(database_url: str, make: Any) -> None:
    app = create_app(
        load(Settings, {"ENVIRONMENT": "development", "DATABASE_URL": database_url}, service="accounts")
    )
    database = app.plugins.get(DatabasePlugin)
    now, hour = datetime.now(UTC), timedelta(hours=1)
    ends = {
        "live": (now + hour, now + hour, None),
        "ended, token valid": (now + hour, now + hour, now - hour),
        "ended, token expired a moment ago": (now + hour, now, now - hour),
        "ended, token expired": (now + hour, now - hour, now - 2 * hour),
        "expired": (now - hour, now - 2 * hour, None),
    }
    async with app.lifespan():
        async with database.session() as session:
            await (await session.connection()).run_sync(User.metadata.create_all)
            user = make.user.build()
            session.add(user)
            await session.flush()
            for number, (client, (expires, access_expires, ended)) in enumerate(ends.items()):
                row = UserSession(
                    user_id=user.id,
                    client=client,
                    family_hash=bytes([number]) * 32,
                    token_hash=b"",
                    last_used_at=now,
                    expires_at=expires,
                    access_expires_at=access_expires,
                    ended_at=ended,
                )
                session.add(row)

        assert await delete_old_sessions(database) == 2

        async with database.session() as session:
            left = set(await session.scalars(select(UserSession.client)))
    assert left == {"live", "ended, token valid", "ended, token expired a moment ago"}


@pytest.fixture
def accounts_env(tmp_path: Any) -> dict[str, str]:
    return {"DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db", **NO_LIMIT}


@pytest.fixture
def no_grace(accounts_env: dict[str, str]) -> Iterator[Service]:
    with running("accounts", accounts_env | {"REFRESH_TOKEN_GRACE_SECONDS": "0"}) as service:
        yield service


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


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _sid(headers: dict[str, str]) -> str:
    return str(_claims(headers["Authorization"].split()[1])["sid"])


def _is_problem(response: httpx2.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
