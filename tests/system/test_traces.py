"""`starkeel-observability traces`: what two running services remember, as a waterfall."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service, running

from .test_fleet import PASSWORD, TRACE_ID, TRACEPARENT


def shown(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    return subprocess.run(
        [sys.executable, "-m", "starkeel_observability", "traces", *arguments],
        env=environ | {"COLUMNS": "80", "PYTHONIOENCODING": "utf-8"} | env,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def accounts() -> Iterator[Service]:
    with running("accounts") as service:
        yield service


@pytest.fixture
def orders(accounts: Service) -> Iterator[Service]:
    upstream = {"ACCOUNTS_URL": accounts.url, "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json"}
    with running("orders", upstream | {"WORKERS": "2"}) as service:
        yield service


def token(accounts: Service) -> str:
    credentials = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
    assert accounts.client.post("/api/users", json=credentials).status_code == 201
    return str(accounts.client.post("/api/auth/token", json=credentials).json()["access_token"])


def order(orders: Service, of: str, **headers: str) -> httpx2.Response:
    given = {"Authorization": f"Bearer {of}", "Idempotency-Key": uuid4().hex, **headers}
    return orders.client.post("/api/orders", json={"product_type": "anchor", "quantity": 2}, headers=given)


def test_an_order_is_one_waterfall_of_both_services(accounts: Service, orders: Service) -> None:
    assert order(orders, token(accounts), traceparent=TRACEPARENT).status_code == 201

    told = shown(accounts.admin_url, orders.admin_url, "--trace", TRACE_ID[:8])

    assert (told.returncode, told.stderr) == (0, ""), told
    lines = told.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"orders · POST /api/orders 201 +\d[\d.]* m?s", lines[0]), told.stdout
    assert f"trace {TRACE_ID} /api/orders" in lines[1]
    rows = [re.match(r"([ │├└]*)(.+?)  +(orders|accounts) ", line) for line in lines[2:] if line]
    found = [(len(row[1]) // 2, row[2], row[3]) for row in rows if row]
    assert found[0] == (0, "POST /api/orders", "orders")
    called = found.index((1, "GET /api/users/me", "orders"))
    assert found[called + 1 : called + 3] == [
        (2, "GET /api/users/me", "accounts"),
        (3, "SELECT users", "accounts"),
    ]
    assert (1, "INSERT orders", "orders") in found
    assert all(re.search(r"[█▏▎▍▌▋▊▉]", line) for line in lines[2:] if line), told.stdout


def test_what_failed_comes_first_and_tells_why(accounts: Service, orders: Service) -> None:
    of = token(accounts)
    assert order(orders, of).status_code == 201
    accounts.stop()
    assert order(orders, of).status_code == 503

    told = shown(accounts.admin_url, orders.admin_url, "--limit", "1", FORCE_COLOR="1")

    assert told.returncode == 0, told
    assert "cannot be asked" in told.stderr
    first, *rest = told.stdout.splitlines()
    assert first.startswith("\x1b[31morders · POST /api/orders 503")
    assert any("✗ " in line for line in rest)
    assert "more of the last minute: --limit " in rest[-1]


def test_nobody_to_ask_is_a_failure(free_port: int) -> None:
    told = shown(f"http://127.0.0.1:{free_port}")

    assert told.returncode == 1
    assert "cannot be asked" in told.stderr


def test_terminals_without_unicode_are_given_none(accounts: Service) -> None:
    accounts.client.get("/api/users/me")

    told = shown(accounts.admin_url, PYTHONIOENCODING="ascii")

    assert told.returncode == 0, told
    assert "GET /api/users/me 401" in told.stdout
    assert "###" in told.stdout
    assert told.stdout.isascii()
