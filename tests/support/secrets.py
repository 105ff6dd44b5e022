"""Secrets in every input of a service, and the search for them in its output."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import uuid4

import httpx2
from starkeel_testing import OtlpReceiver, Service

NEEDED_SERVICES = ("accounts",)

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


def telemetry(otlp: OtlpReceiver, secrets: Secrets) -> dict[str, str]:
    """Return settings that write as much as possible, to a collector."""
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
