"""Secrets in every input of the services appear in none of their output."""

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
"""Inputs that a problem response repeats to its sender: the path, and names of fields."""
JSON = "application/json"


@dataclass
class Secrets:
    """Texts that must not appear in any output, by the input that contains them."""

    by_input: dict[str, str] = field(default_factory=dict)

    def make(self, name: str) -> str:
        made = f"Zq{uuid4().hex}"
        self.by_input[name] = made
        return made

    def found_in(self, text: str) -> list[str]:
        return [
            name for name, secret in self.by_input.items() if any(form in text for form in _forms(secret))
        ]


def _forms(secret: str) -> tuple[str, ...]:
    # The part of the Base64 form that does not depend on the bytes that follow.
    return secret, quote(secret), base64.b64encode(secret.encode()).decode()[:-4]


def output_of(service: Service, otlp: OtlpReceiver) -> dict[str, str]:
    """Return everything a service outputs, except its responses."""
    output = {"log": service.output(), "spans": repr(otlp.spans())}
    for page in PAGES:
        response = httpx2.get(f"{service.admin_url}/{page}", timeout=30, trust_env=False)
        assert response.status_code in {200, 503}, page
        output[page] = response.text
    return output


def leaks(secrets: Secrets, output: dict[str, str]) -> dict[str, list[str]]:
    return {place: inputs for place, text in output.items() if (inputs := secrets.found_in(text))}


def requests_with_secrets(client: httpx2.Client, path: str, secrets: Secrets) -> Iterator[httpx2.Response]:
    """Send requests with a secret in one place each."""
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


def echoed(secrets: Secrets, responses: Iterable[httpx2.Response]) -> set[str]:
    return {name for each in responses for name in secrets.found_in(f"{each.headers}{each.text}")}


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
    """Register a user, sign in with a wrong password, and with the right one."""
    credentials = {"email": f"{uuid4().hex}@example.com", "password": secrets.make("password")}
    assert accounts.client.post("/api/users", json=credentials).status_code == 201
    wrong = credentials | {"password": secrets.make("wrong password")}
    assert accounts.client.post("/api/auth/token", json=wrong).status_code == 401
    response = accounts.client.post("/api/auth/token", json=credentials)
    secrets.by_input["access token"] = token = str(response.json()["access_token"])
    secrets.by_input["email"] = credentials["email"]
    return token


def test_secrets_sent_to_accounts_do_not_leak(
    telemetry: dict[str, str], otlp: OtlpReceiver, secrets: Secrets, own_postgres: OwnPostgres
) -> None:
    key = generate_private_key_pem()
    secrets.by_input["signing key"] = key.splitlines()[1]
    secrets.by_input["database password"] = str(urlsplit(own_postgres.url).password)
    environ = {"DATABASE_URL": own_postgres.url, "JWT_PRIVATE_KEY": key, "DB_ACQUIRE_TIMEOUT_SECONDS": "1"}
    with running("accounts", telemetry | environ) as accounts:
        token = sign_up(accounts, secrets)
        responses = list(requests_with_secrets(accounts.client, "/api/users", secrets))
        responses += requests_with_secrets(accounts.client, "/api/auth/token", secrets)
        me = accounts.client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})
        assert me.status_code == 200
        own_postgres.kill()
        # Database errors contain statements and their parameters.
        body = {"email": "ada@example.com", "password": secrets.make("password in an outage")}
        responses.append(accounts.client.post("/api/users", json=body))
        assert responses[-1].status_code == 503
        accounts.wait_for_log("request completed", status=503)
        otlp.wait_for(lambda spans: any(s.attributes.get("http.response.status_code") == 503 for s in spans))

        assert leaks(secrets, output_of(accounts, otlp)) == {}
        assert echoed(secrets, responses) <= ECHOED
    assert secrets.found_in(accounts.output()) == []


def test_secrets_sent_to_orders_do_not_leak(
    telemetry: dict[str, str], otlp: OtlpReceiver, secrets: Secrets, postgres_url: str, redis_url: str
) -> None:
    secrets.by_input["database password"] = str(urlsplit(postgres_url).password)
    # A wrong password, so that publishing fails and is retried and logged.
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
            responses = list(requests_with_secrets(orders.client, "/api/orders", secrets))
            responses += requests_with_secrets(orders.client, "/api/orders/events", secrets)
            responses.append(orders.client.post("/api/orders", json=order, headers=headers))
            assert responses[-1].status_code in {201, 503}
            otlp.wait_for(lambda spans: any(span.service == "orders" for span in spans))

            assert leaks(secrets, output_of(orders, otlp)) == {}
            assert leaks(secrets, output_of(accounts, otlp)) == {}
            assert echoed(secrets, responses) <= ECHOED
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
def test_a_failed_start_reveals_no_secret(variable: str, template: str, secrets: Secrets) -> None:
    service = "orders" if variable == "REDIS_URL" else "accounts"
    text = template.format(secrets.make(variable))

    finished = exits(service, {variable: text, "DB_STARTUP_TIMEOUT_SECONDS": "0.5"})

    assert finished.code in {69, 78}, finished.output
    assert secrets.found_in(finished.output) == []
