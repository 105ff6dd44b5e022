"""Sessions: rotation and reuse of refresh tokens, lifetimes and limits, with each database."""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
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


def test_the_database_holds_no_refresh_token(
    accounts_env: dict[str, str], sign_up: SignUp, tmp_path: Path
) -> None:
    with running("accounts", accounts_env) as service:
        person = sign_up(service)
        tokens = [person.refresh_token, _refresh(service, person.refresh_token).json()["refresh_token"]]

    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert person.email.encode() in stored
    for token in tokens:
        family, secret = (octets := urlsafe_b64decode(token))[:16], octets[16:]
        assert token.encode() not in stored
        assert family not in stored
        assert secret not in stored
        assert sha256(secret).digest() in stored


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

        async with database.session() as session:
            assert await delete_old_sessions(session) == 2
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


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _is_problem(response: httpx2.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
