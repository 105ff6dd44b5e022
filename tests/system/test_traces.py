"""`just traces`: the recent traces of two running services, as a waterfall."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service, running

from tools.registry import ROOT

from ..support.accounts import sign_in

NEEDED_SERVICES = ("accounts", "orders")

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def shown(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    return subprocess.run(
        [sys.executable, "-m", "tools.traces", *arguments],
        cwd=ROOT,
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


def order(orders: Service, of: dict[str, str], **headers: str) -> httpx2.Response:
    given = {**of, "Idempotency-Key": uuid4().hex, **headers}
    return orders.client.post("/api/orders", json={"product_type": "anchor", "quantity": 2}, headers=given)


def test_an_order_is_one_waterfall_of_both_services(accounts: Service, orders: Service) -> None:
    assert order(orders, sign_in(accounts.client), traceparent=TRACEPARENT).status_code == 201

    result = shown("--url", accounts.admin_url, "--url", orders.admin_url, "--trace", TRACE_ID[:8])

    assert (result.returncode, result.stderr) == (0, ""), result
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"orders · POST /api/orders 201 +\d[\d.]* m?s", lines[0]), result.stdout
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
    assert all(re.search(r"[█▏▎▍▌▋▊▉]", line) for line in lines[2:] if line), result.stdout


def test_failed_requests_come_first_with_their_error(accounts: Service, orders: Service) -> None:
    of = sign_in(accounts.client)
    assert order(orders, of).status_code == 201
    accounts.stop()
    assert order(orders, of).status_code == 503

    result = shown("--url", accounts.admin_url, "--url", orders.admin_url, "--limit", "1", FORCE_COLOR="1")

    assert result.returncode == 0, result
    assert "is not reachable" in result.stderr
    first, *rest = result.stdout.splitlines()
    assert first.startswith("\x1b[31morders · POST /api/orders 503")
    assert any("✗ " in line for line in rest)
    assert " more: --limit " in rest[-1]


def test_an_unreachable_service_is_a_failure(free_port: int) -> None:
    result = shown("--url", f"http://127.0.0.1:{free_port}")

    assert result.returncode == 1
    assert "is not reachable" in result.stderr


def test_output_is_ascii_if_the_terminal_is(accounts: Service) -> None:
    accounts.client.get("/api/users/me")

    result = shown("--url", accounts.admin_url, PYTHONIOENCODING="ascii")

    assert result.returncode == 0, result
    assert "GET /api/users/me 401" in result.stdout
    assert "###" in result.stdout
    assert result.stdout.isascii()
