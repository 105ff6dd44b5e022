"""Rate limits of registration and sign-in, with one worker and with several."""

from typing import Any

import httpx2
import pytest
from starkeel_testing import running, wait_until


def test_a_registration_over_the_limit_is_rejected(
    accounts_env: dict[str, str], make: Any, body: Any
) -> None:
    with running("accounts", accounts_env | {"RATE_LIMIT_SIGN_UP": "3/hour"}) as service:
        responses = [service.client.post("/api/users", json=body(make.sign_up.build())) for _ in range(4)]

        assert [response.status_code for response in responses] == [201, 201, 201, 429]
        _check_rejection(responses[-1])
        wait_until(
            lambda: service.metric("http_requests_total", path="/api/users", status="429") == 1,
            what="the request rejected before routing to be counted with its route",
        )


def test_wrong_passwords_count_towards_the_limit(accounts_env: dict[str, str], make: Any, body: Any) -> None:
    with running("accounts", accounts_env | {"RATE_LIMIT_TOKEN": "3/hour"}) as service:
        responses = [
            service.client.post("/api/auth/token", json=body(make.credentials.build())) for _ in range(4)
        ]

        assert [response.status_code for response in responses] == [401, 401, 401, 429]
        _check_rejection(responses[-1])


def test_password_guesses_with_a_token_are_limited(
    accounts_env: dict[str, str], make: Any, body: Any, sign_up: Any
) -> None:
    with running("accounts", accounts_env | {"RATE_LIMIT_PASSWORD": "3/hour"}) as service:
        person, other = sign_up(service), sign_up(service)
        guesses = [
            service.client.patch(
                "/api/users/me", headers=person.headers, json=body(make.password_change.build())
            )
            for _ in range(4)
        ]

        assert [response.status_code for response in guesses] == [403, 403, 403, 429]
        unlimited = service.client.patch(
            "/api/users/me", headers=other.headers, json=body(make.password_change.build())
        )
        assert unlimited.status_code == 403


def test_reads_are_limited(accounts_env: dict[str, str], sign_up: Any) -> None:
    env = accounts_env | {"RATE_LIMIT_PROFILE": "2/hour", "RATE_LIMIT_DISCOVERY": "2/hour"}
    with running("accounts", env) as service:
        person, other = sign_up(service), sign_up(service)
        reads = [service.client.get("/api/users/me", headers=person.headers) for _ in range(3)]
        assert [response.status_code for response in reads] == [200, 200, 429]
        _check_rejection(reads[-1])
        assert service.client.get("/api/users/me", headers=other.headers).status_code == 200
        paths = ("jwks.json", "openid-configuration", "jwks.json")
        statuses = [service.client.get(f"/.well-known/{path}").status_code for path in paths]
        assert statuses == [200, 200, 429]


def test_workers_share_a_limit_through_redis(
    accounts_env: dict[str, str], redis_url: str, make: Any, body: Any
) -> None:
    env = accounts_env | {"WORKERS": "2", "REDIS_URL": redis_url, "RATE_LIMIT_SIGN_UP": "6/hour"}
    with running("accounts", env) as service:
        statuses = []
        for _ in range(8):
            # One connection per request, so that both workers receive requests.
            with httpx2.Client(base_url=service.url) as client:
                statuses.append(client.post("/api/users", json=body(make.sign_up.build())).status_code)

        assert statuses == [201] * 6 + [429] * 2


def _check_rejection(response: httpx2.Response) -> None:
    assert response.headers["content-type"].startswith("application/problem+json")
    assert int(response.headers["retry-after"]) >= 1


@pytest.fixture
def accounts_env(tmp_path: Any) -> dict[str, str]:
    return {
        "ENVIRONMENT": "development",
        "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db",
        "RATE_LIMIT_SIGN_UP": "1000/hour",
        "RATE_LIMIT_TOKEN": "1000/hour",
    }
