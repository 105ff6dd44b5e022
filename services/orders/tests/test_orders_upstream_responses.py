"""Orders whose accounts sends something else than agreed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from starkeel_testing import Service, running

PLACEMENT = {"product_type": "oak-plank", "quantity": 1}
PROFILE = json.dumps({"id": str(uuid4()), "email": "ada@example.com", "email_verified": True}).encode()
JSON, PROBLEM = "application/json", "application/problem+json"

AGREED: dict[str, tuple[int, str, bytes, int]] = {
    "an active user": (200, JSON, PROFILE, 201),
    "a rejected token": (401, PROBLEM, b'{"type":"about:blank","title":"","status":401}', 401),
    "a deactivated user": (403, PROBLEM, b'{"type":"about:blank","title":"","status":403}', 403),
    "a rate limit of the user": (429, PROBLEM, b'{"status":429}', 429),
}
VIOLATIONS: dict[str, tuple[int, str, bytes, int]] = {
    "a page of a proxy": (200, "text/html", b"<html>private</html>", 502),
    "JSON of something else": (200, JSON, b'{"status": "private"}', 502),
    "an id of another type": (200, JSON, b'{"id": "private"}', 502),
    "no body": (200, JSON, b"", 502),
    "accepted": (202, JSON, PROFILE, 502),
    "no content": (204, "", b"", 502),
    "a redirect to a login page": (302, "text/html", b"private", 502),
    "a missing route": (404, PROBLEM, b'{"status": 404}', 502),
    "a firewall's refusal": (403, "text/html", b"<html>private</html>", 502),
    "a proxy's authentication": (401, "text/plain", b"private", 502),
    "a rate limit of a proxy": (429, "text/html", b"<html>private</html>", 503),
    "a problem with another status": (403, PROBLEM, b'{"status": 401}', 502),
    "an error": (500, PROBLEM, b'{"status": 500}', 503),
}


class Accounts:
    """Publishes keys, and responds to all else as scripted."""

    def __init__(self) -> None:
        self.keys = b""
        self.reply: tuple[int, str, bytes] = (200, JSON, PROFILE)
        accounts = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                is_keys = self.path.endswith("jwks.json")
                status, media_type, body = (200, JSON, accounts.keys) if is_keys else accounts.reply
                self.send_response(status)
                if media_type:
                    self.send_header("Content-Type", media_type)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                if status in {429, 500}:
                    self.send_header("Retry-After", "37")
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def scripted(signing_pem: str) -> Iterator[Accounts]:
    from starkeel_auth import SigningKeys

    accounts = Accounts()
    accounts.keys = json.dumps(SigningKeys.from_pem(signing_pem).jwks()).encode()
    yield accounts
    accounts.stop()


@pytest.fixture(scope="module")
def orders(scripted: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("orders")
    with _running(scripted, f"sqlite:///{directory}/orders.db") as service:
        yield service


@contextmanager
def _running(scripted: Accounts, database_url: str) -> Iterator[Service]:
    env = {
        "DATABASE_URL": database_url,
        "ACCOUNTS_URL": scripted.url,
        "JWT_JWKS_URL": f"{scripted.url}/.well-known/jwks.json",
        "JWT_ISSUER": "https://accounts.example.com",
        "JWT_AUDIENCE": "shop",
        "RATE_LIMIT_ORDER_CREATION": "10000/minute",
    }
    with running("orders", env) as service:
        yield service


@pytest.mark.parametrize("how", AGREED | VIOLATIONS)
def test_accounts_is_believed_only_if_its_response_is_as_agreed(
    orders: Service, scripted: Accounts, forged: Callable[..., str], how: str
) -> None:
    *reply, expected = (AGREED | VIOLATIONS)[how]
    scripted.reply = tuple(reply)  # type: ignore[assignment]  # three of the four
    request_id = uuid4().hex
    headers: dict[str, Any] = {
        "Authorization": f"Bearer {forged('none')}",
        "Idempotency-Key": f'"{uuid4()}"',
        "X-Request-ID": request_id,
    }

    response = orders.client.post("/api/orders", json=PLACEMENT, headers=headers)

    assert response.status_code == expected, response.text
    assert "private" not in response.text
    if reply[0] in {429, 500}:
        assert response.headers["Retry-After"] == "37"
    if how in VIOLATIONS:
        assert response.headers["content-type"].startswith(PROBLEM)
        line = orders.wait_for_log("upstream response invalid", request_id=request_id)
        assert (line["upstream"], line["route"], line["status"]) == ("accounts", "/api/users/me", reply[0])
    assert "private" not in orders.output()
