"""Access tokens of this service, by client credentials."""

import json
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import pytest
from starkeel_client import UpstreamSettings
from starkeel_config import ConfigurationError, Secret, Settings, load, prefixed
from starkeel_testing import wait_until

Start = Callable[..., Any]


def _credentials(token_server: Any) -> dict[str, Any]:
    return {
        "token_url": f"{token_server.url}/token",
        "client_id": "reporter",
        "client_secret": Secret("p%ss: word"),
        "token_scope": "orders:read",
    }


def _body(token: str, *, expires_in: float = 600, kind: str = "Bearer") -> bytes:
    return json.dumps({"access_token": token, "token_type": kind, "expires_in": expires_in}).encode()


def _sent(server: Any) -> list[str | None]:
    return [request.headers.get("Authorization") for request in server.received]


def test_concurrent_calls_share_one_token(server: Any, token_server: Any, reply: Any, caller: Start) -> None:
    token_server.script(reply(body=_body("first"), wait=True))
    calling = caller(**_credentials(token_server))

    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(calling.call) for _ in range(5)]
        token_server.wait_for_requests(1)
        token_server.go_on.set()
        statuses = [call.result().json()["status"] for call in calls]
    calling.call()

    assert statuses == [200] * 5
    assert _sent(server) == ["Bearer first"] * 6
    [request] = token_server.received
    assert (request.method, request.path) == ("POST", "/token")
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["orders:read"]}
    credentials = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
    assert credentials == "reporter:p%25ss%3A+word"


def test_authorization_of_the_caller_is_sent_instead(server: Any, token_server: Any, caller: Start) -> None:
    calling = caller(**_credentials(token_server))

    calling.call(lambda client: client.get("/", headers={"authorization": "Bearer of a user"}))

    assert _sent(server) == ["Bearer of a user"]
    assert token_server.received == []


def test_an_ended_token_is_replaced(server: Any, token_server: Any, reply: Any, caller: Start) -> None:
    # Less than the margin: it is not sent.
    token_server.script(reply(body=_body("ended", expires_in=1)), reply(body=_body("second")))
    calling = caller(**_credentials(token_server))

    assert calling.call().status_code == 503
    assert calling.call().json()["status"] == 200

    assert _sent(server) == ["Bearer second"]


def test_after_a_failed_renewal_the_old_token_is_used(
    server: Any, token_server: Any, reply: Any, caller: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each call renews in the background.
    monkeypatch.setattr("starkeel_client._service_token._RENEW_AT", 0.0)
    token_server.script(reply(body=_body("old")), reply(status=503), reply(body=_body("new")))
    calling = caller(**_credentials(token_server))

    calling.call()
    calling.call()
    token_server.wait_for_requests(2)
    assert calling.call().json()["status"] == 200
    assert set(_sent(server)) == {"Bearer old"}

    def is_renewed() -> bool:
        calling.call()
        return _sent(server)[-1] == "Bearer new"

    wait_until(is_renewed, timeout_s=20)


def test_a_token_that_the_upstream_rejects_is_not_sent_again(
    server: Any, token_server: Any, reply: Any, caller: Start
) -> None:
    token_server.script(reply(body=_body("revoked")), reply(body=_body("good")))
    server.script(reply(status=401), reply(status=200))
    calling = caller(**_credentials(token_server))

    assert [calling.call().json()["status"] for _ in range(2)] == [401, 200]

    assert _sent(server) == ["Bearer revoked", "Bearer good"]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 401},
        {"drop": True},
        {"body": b"nothing"},
        {"body": _body("a b")},
        {"body": _body("x", kind="mac")},
        {"body": _body("x", expires_in=-1)},
        {"body": b'"' + b"x" * 100_000 + b'"'},
        {"wait": True},
    ],
)
def test_without_a_token_no_call_is_made(
    server: Any, token_server: Any, reply: Any, caller: Start, answer: dict[str, Any]
) -> None:
    token_server.script(reply(**answer))
    calling = caller(**_credentials(token_server), timeout_s=1.0)

    response = calling.call(deadline_s=3.0)

    assert response.status_code == 503
    assert "p%ss" not in response.text
    assert server.received == []


def test_incomplete_credentials_are_rejected() -> None:
    class Group(Settings, frozen=True, kw_only=True):
        orders: UpstreamSettings = prefixed("ORDERS")

    environ = {"ORDERS_URL": "http://orders:3000", "ORDERS_TOKEN_URL": "http://accounts:3000/token"}
    with pytest.raises(ConfigurationError) as raised:
        load(Group, environ, service="shop")

    assert "ORDERS_CLIENT_ID" in str(raised.value)
    assert "ORDERS_CLIENT_SECRET" in str(raised.value)
