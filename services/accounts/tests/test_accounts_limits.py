"""Rate limits of registration and sign-in, with one worker and with several."""

from typing import Any

import httpx2
import pytest
import redis
from starkeel_testing import OwnRedis, Service, running, wait_until


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


@pytest.fixture(params=[False, True], ids=["process", "redis"])
def guarded_env(
    accounts_env: dict[str, str], request: pytest.FixtureRequest, redis_url: str
) -> dict[str, str]:
    """An accounts behind a proxy, which allows five attempts to sign in to an account."""
    shared = {"REDIS_URL": redis_url, "WORKERS": "2"} if request.param else {}
    guard = {"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_SIGN_IN_ACCOUNT": "5/hour"}
    return accounts_env | guard | shared


def _sign_in(service: Service, email: str, password: str, *, address: str) -> httpx2.Response:
    return service.client.post(
        "/api/auth/token",
        json={"email": email, "password": password},
        headers={"X-Forwarded-For": address},
    )


def test_guessing_one_account_from_many_addresses_is_slowed_and_its_owner_signs_in(
    guarded_env: dict[str, str], make: Any, body: Any
) -> None:
    with running("accounts", guarded_env) as service:
        owner, other = make.sign_up.build(), make.sign_up.build()
        for each in (owner, other):
            assert service.client.post("/api/users", json=body(each)).status_code == 201
        # By the shared allowance: the account has not succeeded from anywhere yet.
        assert _sign_in(service, owner.email, owner.password, address="192.0.2.1").status_code == 200
        if "REDIS_URL" in guarded_env:
            wait_until(lambda: _known_addresses(guarded_env) == 1)
        wait_until(
            lambda: service.metric("rate_limit_requests_total", limit="sign_in_account", result="within") == 1
        )

        guesses = [
            _sign_in(service, spelling, f"guess number {number}", address=address)
            for number in range(120)
            for spelling in [owner.email if number % 2 else f" {owner.email.upper()}"]
            for address in [f"198.51.100.{number}" if number % 3 else f"2001:db8:{number}::1"]
        ]

        assert [each.status_code for each in guesses] == [401] * 4 + [429] * 116
        _check_rejection(guesses[-1])
        # The headers do not show strangers when the owner signs in.
        assert {each.headers["ratelimit-policy"] for each in guesses} == {'"token";q=1000;w=3600'}
        # From an address where the owner has signed in before, nothing has changed.
        assert _sign_in(service, owner.email, owner.password, address="192.0.2.1").status_code == 200
        assert _sign_in(service, owner.email, owner.password, address="192.0.2.2").status_code == 429
        assert _sign_in(service, other.email, other.password, address="198.51.100.7").status_code == 200

        assert service.metric("security_events_total", event="sign_in_slowed") == 117
        assert service.metric("rate_limit_requests_total", limit="sign_in_account", result="over") == 117
        slowed = service.wait_for_log("sign-in slowed", event_kind="sign_in_slowed")
        assert service.wait_for_log("token refused")["account"] == slowed["account"]
        assert len(slowed["account"]) == 32
        local = owner.email.partition("@")[0]
        logged = [line for line in service.logs() if line["message"] != "user created"]
        assert local not in str(logged).lower()
        assert local not in str(service.metrics()).lower()
        keys = _keys(guarded_env)
        assert local not in str(keys).lower()
        assert ("REDIS_URL" in guarded_env) is any(slowed["account"] in key for key in keys)


def test_guesses_from_an_address_of_the_owner_use_the_allowance_of_that_address_only(
    guarded_env: dict[str, str], make: Any, body: Any
) -> None:
    with running("accounts", guarded_env) as service:
        owner = make.sign_up.build()
        assert service.client.post("/api/users", json=body(owner)).status_code == 201
        for address in ("192.0.2.1", "192.0.2.2"):
            assert _sign_in(service, owner.email, owner.password, address=address).status_code == 200
        if "REDIS_URL" in guarded_env:
            # Stored after the response.
            wait_until(lambda: _known_addresses(guarded_env) == 2)

        def guess(address: str) -> int:
            return _sign_in(service, owner.email, "a wrong guess", address=address).status_code

        assert [guess("192.0.2.1") for _ in range(7)] == [401] * 5 + [429] * 2
        assert _sign_in(service, owner.email, owner.password, address="192.0.2.2").status_code == 200
        # Two of the shared allowance were used for the first success of each address.
        assert [guess(f"198.51.100.{number}") for number in range(5)] == [401] * 3 + [429] * 2


def test_an_address_without_a_user_is_slowed_like_any_other(guarded_env: dict[str, str], make: Any) -> None:
    with running("accounts", guarded_env) as service:
        stranger = make.credentials.build()
        responses = [
            _sign_in(service, stranger.email, stranger.password, address=f"198.51.100.{number}")
            for number in range(7)
        ]
        assert [each.status_code for each in responses] == [401] * 5 + [429] * 2


def test_a_sign_in_counts_in_redis_with_one_command(
    accounts_env: dict[str, str], own_redis: OwnRedis, make: Any
) -> None:
    with running(
        "accounts", accounts_env | {"REDIS_URL": own_redis.url, "RATE_LIMIT_TOKEN": "3/hour"}
    ) as service:
        stranger = make.credentials.build()
        first = _sign_in(service, stranger.email, "wrong", address="192.0.2.1")
        own_redis.execute("CONFIG", "RESETSTAT")
        second = _sign_in(service, stranger.email, "wrong", address="192.0.2.1")
        calls = own_redis.execute("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
        malformed = service.client.post("/api/auth/token", json={"email": 5})

        assert (first.status_code, second.status_code, calls) == (401, 401, 1)
        # A request that never reaches the account counts for its address.
        assert malformed.status_code == 400
        assert malformed.headers["ratelimit"].startswith('"token";r=0;')
        assert service.client.post("/api/auth/token", json={"email": 5}).status_code == 429


def _keys(env: dict[str, str]) -> list[str]:
    if "REDIS_URL" not in env:
        return []
    with redis.Redis.from_url(env["REDIS_URL"], decode_responses=True) as client:
        return [str(key) for key in client.scan_iter()]


def _known_addresses(env: dict[str, str]) -> int:
    with redis.Redis.from_url(env["REDIS_URL"]) as client:
        return sum(client.zcard(key) for key in _keys(env) if "/known/" in key)


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
