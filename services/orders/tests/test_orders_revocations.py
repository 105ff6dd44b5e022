"""Tokens of sessions that accounts has ended are refused within the interval."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from starkeel_testing import Service, running, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

NEW_PASSWORD = "nine oak bookshelves"


def _sign_out(accounts: Service, person: Any) -> Any:
    return accounts.client.post("/api/auth/sign-out", headers=person.headers)


def _sign_out_everywhere(accounts: Service, person: Any) -> Any:
    return accounts.client.post("/api/auth/sign-out-everywhere", headers=person.headers)


def _change_password(accounts: Service, person: Any) -> Any:
    change = {"current_password": person.password, "new_password": NEW_PASSWORD}
    return accounts.client.patch("/api/users/me", headers=person.headers, json=change)


def _deactivate(accounts: Service, person: Any) -> Any:
    confirmation = {"password": person.password}
    return accounts.client.request("DELETE", "/api/users/me", headers=person.headers, json=confirmation)


def _reuse(accounts: Service, person: Any) -> Any:
    def refresh(token: str) -> Any:
        return accounts.client.post("/api/auth/refresh", json={"refresh_token": token})

    refresh(refresh(person.refresh_token).json()["refresh_token"])
    assert refresh(person.refresh_token).status_code == 401
    return accounts.client.get("/.well-known/revocations")


def _close_code(socket: ClientConnection) -> int | None:
    """Receive heartbeats until the connection is closed."""
    try:
        while True:
            socket.recv(timeout=30)
    except ConnectionClosed:
        return socket.close_code


EVENTS = [_sign_out, _sign_out_everywhere, _change_password, _deactivate, _reuse]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__.strip("_"))
def test_orders_refuses_the_token_of_an_ended_session(
    service: Service, accounts: Service, new_person: Callable[[], Any], event: Callable[..., Any]
) -> None:
    person, other = new_person(), new_person()
    assert service.client.get("/api/orders", headers=person.headers).status_code == 200

    assert event(accounts, person).is_success

    wait_until(
        lambda: service.client.get("/api/orders", headers=person.headers).status_code == 401,
        what="orders to refuse the token",
    )
    response = service.client.get("/api/orders", headers=person.headers)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert response.headers["content-type"].startswith("application/problem+json")
    key = {"Idempotency-Key": "after the end"}
    written = service.client.post("/api/orders", headers=person.headers | key, json={})
    assert written.status_code == 401, written.text
    assert service.client.get("/api/orders", headers=other.headers).status_code == 200


def test_a_live_connection_ends_with_its_session(
    service: Service, accounts: Service, new_person: Callable[[], Any]
) -> None:
    person = new_person()
    url = service.url.replace("http", "ws", 1) + "/api/orders/live"
    with connect(url, additional_headers=person.headers) as socket:
        assert _sign_out(accounts, person).status_code == 204

        assert _close_code(socket) == 4401
        assert socket.close_reason == "session ended"


def test_an_event_stream_ends_with_its_session(
    service: Service, accounts: Service, new_person: Callable[[], Any]
) -> None:
    person = new_person()
    with service.client.stream("GET", "/api/orders/events", headers=person.headers, timeout=30) as response:
        assert response.status_code == 200
        assert _deactivate(accounts, person).status_code == 204

        received = response.read()

    assert received.endswith(b'event: end\r\ndata: {"code":4401,"reason":"session ended"}\r\n\r\n')


def test_the_list_has_only_ids_of_ended_sessions(accounts: Service, new_person: Callable[[], Any]) -> None:
    person, other = new_person(), new_person()
    _sign_out(accounts, person)

    response = accounts.client.get("/.well-known/revocations")

    assert response.status_code == 200
    assert response.json().keys() == {"sessions"}
    assert person.session_id in response.json()["sessions"]
    assert other.session_id not in response.json()["sessions"]
    assert person.id not in response.text
    assert response.headers["cache-control"] == "no-cache"
    again = accounts.client.get(
        "/.well-known/revocations", headers={"If-None-Match": f'"x", W/{response.headers["etag"]}'}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    _sign_out(accounts, other)
    changed = accounts.client.get(
        "/.well-known/revocations", headers={"If-None-Match": response.headers["etag"]}
    )
    assert changed.status_code == 200
    assert other.session_id in changed.json()["sessions"]


def test_without_accounts_tokens_stay_valid_and_the_outage_is_reported(
    accounts_env: dict[str, str],
    orders_env: Callable[[Service], dict[str, str]],
    sign_up_at: Callable[[Service], Any],
) -> None:
    with ExitStack() as stack:
        accounts = stack.enter_context(running("accounts", accounts_env))
        service = stack.enter_context(running("orders", orders_env(accounts)))
        ada = sign_up_at(accounts)
        assert service.client.get("/api/orders", headers=ada.headers).status_code == 200
        assert service.metric("auth_revocations_fetched_timestamp_seconds") > 1_700_000_000
        assert accounts.terminate() == 0

        service.wait_for_log("revocation list fetch failed", level="WARN")
        service.wait_for_log("readiness check failed", check="token revocations")

        assert service.client.get("/api/orders", headers=ada.headers).status_code == 200
        assert service.client.get("/health/ready").status_code == 200
