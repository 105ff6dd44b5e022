"""An issuer on a real socket, and its tokens."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from starkeel_auth import AuthSettings, SigningKeys, generate_private_key_pem

ISSUER = "https://accounts.example.com"
AUDIENCE = "fleet"


class Issuer:
    """HTTP server that publishes keys, counts fetches, and can be stopped and restarted."""

    def __init__(self) -> None:
        self.document: Any = {"keys": []}
        self.status = 200
        self.headers = {"Content-Type": "application/json"}
        self.may_respond = Event()
        self.may_respond.set()
        self.fetches = 0
        self.conditions: list[str | None] = []
        """`If-None-Match` of each request."""
        self._changed = Condition()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    def start(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._count()
                issuer.may_respond.wait(10)
                document = issuer.document
                body = document if isinstance(document, bytes) else msgspec.json.encode(document)
                # The client may have timed out.
                with suppress(OSError):
                    issuer.conditions.append(self.headers["If-None-Match"])
                    if issuer.headers.get("ETag", "") == self.headers["If-None-Match"]:
                        self.send_response(304)
                        self.end_headers()
                        return
                    self.send_response(issuer.status)
                    for name, value in issuer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.may_respond.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/.well-known/jwks.json"

    def publish(self, *keys: SigningKeys) -> None:
        self.document = {"keys": [entry for each in keys for entry in each.jwks()["keys"]]}

    def wait_for_fetches(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.fetches >= count, timeout=10), self.fetches

    def _count(self) -> None:
        with self._changed:
            self.fetches += 1
            self._changed.notify_all()


@pytest.fixture
def issuer(keys: SigningKeys) -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.publish(keys)
    yield issuer
    issuer.stop()


@pytest.fixture
def revocations() -> Iterator[Issuer]:
    """A server with a list of ended sessions."""
    server = Issuer()
    server.document = {"sessions": []}
    yield server
    server.stop()


@pytest.fixture
def auth_settings(issuer: Issuer) -> Callable[..., AuthSettings]:
    def make(**changed: Any) -> AuthSettings:
        # Long enough for a busy machine.
        base = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": issuer.url, "jwks_timeout_s": 20.0}
        return AuthSettings(**base | changed)

    return make


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    return SigningKeys.from_pem(generate_private_key_pem())


@pytest.fixture(scope="session")
def claims() -> Callable[..., dict[str, Any]]:
    """Return the claims of a valid token; `name=None` omits a claim."""

    def make(**changed: Any) -> dict[str, Any]:
        now = int(time.time())
        valid = {
            "iss": ISSUER,
            "sub": "01890a5d-ac96-774b-bcce-b302099a8057",
            "aud": AUDIENCE,
            "client_id": "accounts",
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid4()),
            "scope": "orders:read orders:write",
        }
        return {name: value for name, value in (valid | changed).items() if value is not None}

    return make


@pytest.fixture(scope="session")
def bearer(keys: SigningKeys, claims: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, str]]:
    """Return request headers with a valid token."""

    def make(*, by: SigningKeys = keys, **changed: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {by.sign(claims(**changed))}"}

    return make
