"""Secrets thrown at every door of the real services are found in nothing that leaves them."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx2
import pytest
from starkeel_auth import generate_private_key_pem
from starkeel_testing import OtlpReceiver, OwnPostgres, Service, exits, running

PAGES = ["metrics", "live", "ready", "info", "config", "routes", "loggers", "migrations", "tasks", "traces"]
ECHOED = {"jwt in a path", "pair in a path", "a name"}
"""What a problem repeats to whoever has sent it: where it is, and which field is meant."""
JSON = "application/json"


@dataclass
class Secrets:
    """Texts that must not be found anywhere, by the door they were thrown at."""

    by_door: dict[str, str] = field(default_factory=dict)

    def make(self, door: str) -> str:
        made = f"Zq{uuid4().hex}"
        self.by_door[door] = made
        return made

    def found_in(self, text: str) -> list[str]:
        return [door for door, secret in self.by_door.items() if any(form in text for form in _forms(secret))]


def _forms(secret: str) -> tuple[str, ...]:
    # Of Base64 what does not depend on what stands beside it.
    return secret, quote(secret), base64.b64encode(secret.encode()).decode()[:-4]


def told_by(service: Service, otlp: OtlpReceiver) -> dict[str, str]:
    """Everything that leaves a service but for its answers."""
    told = {"log": service.output(), "spans": repr(otlp.spans())}
    for page in PAGES:
        answer = httpx2.get(f"{service.admin_url}/{page}", timeout=30, trust_env=False)
        assert answer.status_code in {200, 503}, page
        told[page] = answer.text
    return told


def leaks(secrets: Secrets, told: dict[str, str]) -> dict[str, list[str]]:
    return {place: doors for place, text in told.items() if (doors := secrets.found_in(text))}


def throw_at_requests(client: httpx2.Client, path: str, secrets: Secrets) -> Iterator[httpx2.Response]:
    """Requests that carry a secret in one place each."""
    s = secrets.make
    basic = base64.b64encode(f"ada:{s('basic')}".encode()).decode()
    for name, value in (
        ("Authorization", f"Bearer {s('bearer')}"),
        ("Authorization", f"Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.{s('jwt')}"),
        ("Authorization", f"Basic {basic}"),
        ("Proxy-Authorization", f"Basic {s('proxy authorization')}"),
        ("Cookie", f"session={s('cookie')}"),
        ("X-Api-Key", s("api key")),
        ("X-Request-ID", f"{s('request id')} with blanks"),
        ("Referer", f"https://ada:{s('referer')}@example.com/"),
        ("User-Agent", f"agent https://ada:{s('user agent')}@example.com/"),
        ("User-Agent", f"agent token={s('user agent token')}"),
        ("traceparent", s("traceparent")),
        ("Idempotency-Key", s("idempotency key") + "\u00e9"),
        ("X-Forwarded-For", s("forwarded")),
        ("If-Match", s("if match")),
        ("Last-Event-ID", s("last event id")),
    ):
        yield client.get(path, headers={name: value.encode("utf-8")})
    for name in ("access_token", "password", "api_key", "X-Amz-Signature", "client%5Fsecret"):
        yield client.get(f"{path}?{name}={s(f'query {name}')}&limit=nonsense")
    yield client.get(f"{path}/eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.{s('jwt in a path')}")
    yield client.get(f"{path}/token={s('pair in a path')}")
    mail = '"email": "ada@example.com"'
    for body, kind in (
        (f'{{{mail}, "password": "{s("wrong type")}", "quantity": []}}', JSON),
        (f'{{{mail}, "password": "{s("cut body")}', JSON),
        (f'["{s("a list")}"]', JSON),
        (f'{{{mail}, "password": {{"a": "{s("nested")}"}}}}', JSON),
        (f'{{{mail}, "secret_{s("a name")}": 1, "password": "short"}}', JSON),
        (f"\u00ff{s('no utf-8')}", JSON),
        (f"password={s('form')}", "application/x-www-form-urlencoded"),
        (s("text"), "text/plain"),
    ):
        yield client.post(path, content=body.encode("latin-1"), headers={"Content-Type": kind})
        yield client.put(path, content=body.encode("latin-1"), headers={"Content-Type": kind})


def echoed(secrets: Secrets, answers: Iterable[httpx2.Response]) -> set[str]:
    return {door for answer in answers for door in secrets.found_in(f"{answer.headers}{answer.text}")}


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def telemetry(otlp: OtlpReceiver, secrets: Secrets) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={secrets.make('collector headers')}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "LOG_LEVEL": "debug",
    }


def sign_up(accounts: Service, secrets: Secrets) -> str:
    """Somebody signs up, gets the password wrong, and then right."""
    credentials = {"email": f"{uuid4().hex}@example.com", "password": secrets.make("password")}
    assert accounts.client.post("/api/users", json=credentials).status_code == 201
    wrong = credentials | {"password": secrets.make("wrong password")}
    assert accounts.client.post("/api/auth/token", json=wrong).status_code == 401
    answer = accounts.client.post("/api/auth/token", json=credentials)
    secrets.by_door["access token"] = token = str(answer.json()["access_token"])
    secrets.by_door["email"] = credentials["email"]
    return token


def test_what_is_thrown_at_accounts_stays_there(
    telemetry: dict[str, str], otlp: OtlpReceiver, secrets: Secrets, own_postgres: OwnPostgres
) -> None:
    key = generate_private_key_pem()
    secrets.by_door["signing key"] = key.splitlines()[1]
    secrets.by_door["database password"] = str(urlsplit(own_postgres.url).password)
    environ = {"DATABASE_URL": own_postgres.url, "JWT_PRIVATE_KEY": key, "DB_ACQUIRE_TIMEOUT_SECONDS": "1"}
    with running("accounts", telemetry | environ) as accounts:
        token = sign_up(accounts, secrets)
        answers = list(throw_at_requests(accounts.client, "/api/users", secrets))
        answers += throw_at_requests(accounts.client, "/api/auth/token", secrets)
        me = accounts.client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})
        assert me.status_code == 200
        own_postgres.kill()
        # Errors of the database, with everything that was on its way to it.
        body = {"email": "ada@example.com", "password": secrets.make("password in an outage")}
        answers.append(accounts.client.post("/api/users", json=body))
        assert answers[-1].status_code == 503
        accounts.wait_for_log("request completed", status=503)
        otlp.wait_for(lambda spans: any(s.attributes.get("http.response.status_code") == 503 for s in spans))

        assert leaks(secrets, told_by(accounts, otlp)) == {}
        assert echoed(secrets, answers) <= ECHOED
    assert secrets.found_in(accounts.output()) == []


def test_what_is_thrown_at_orders_stays_there(
    telemetry: dict[str, str], otlp: OtlpReceiver, secrets: Secrets, postgres_url: str, redis_url: str
) -> None:
    secrets.by_door["database password"] = str(urlsplit(postgres_url).password)
    # A wrong one: what it is told of fails, and is told again and again.
    redis = f"redis://:{secrets.make('redis password')}@{redis_url.rpartition('@')[2]}"
    with running("accounts", telemetry) as accounts:
        token = sign_up(accounts, secrets)
        keys = f"{accounts.url}/.well-known/jwks.json?token={secrets.make('query of a setting')}"
        environ = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis,
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": keys,
            "OTEL_RESOURCE_ATTRIBUTES": f"api_key={secrets.make('resource attribute')},team=a",
        }
        with running("orders", telemetry | environ) as orders:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
            order: dict[str, Any] = {"product_type": "anchor", "quantity": 2}
            answers = list(throw_at_requests(orders.client, "/api/orders", secrets))
            answers += throw_at_requests(orders.client, "/api/orders/events", secrets)
            answers.append(orders.client.post("/api/orders", json=order, headers=headers))
            assert answers[-1].status_code in {201, 503}
            otlp.wait_for(lambda spans: any(span.service == "orders" for span in spans))

            assert leaks(secrets, told_by(orders, otlp)) == {}
            assert leaks(secrets, told_by(accounts, otlp)) == {}
            assert echoed(secrets, answers) <= ECHOED
        assert secrets.found_in(orders.output()) == []


@pytest.mark.parametrize(
    ("variable", "template"),
    [
        ("DATABASE_URL", "postgresql://ada:{}@127.0.0.1:9/x"),
        ("DATABASE_URL", "nonsense://ada:{}@127.0.0.1:9/x"),
        ("DATABASE_URL", "postgresql://ada:{}@127.0.0.1:port/x"),
        ("DATABASE_URL_FILE", "/nowhere/{}"),
        ("REDIS_URL", "nonsense://ada:{}@127.0.0.1:9"),
        ("JWT_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no pair {}"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://ada:{}@127.0.0.1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://127.0.0.1/?token={}"),
    ],
)
def test_a_start_that_fails_tells_no_secret(variable: str, template: str, secrets: Secrets) -> None:
    service = "orders" if variable == "REDIS_URL" else "accounts"
    text = template.format(secrets.make(variable))

    ended = exits(service, {variable: text, "DB_STARTUP_TIMEOUT_SECONDS": "0.5"})

    assert ended.code in {69, 78}, ended.output
    assert secrets.found_in(ended.output) == []
