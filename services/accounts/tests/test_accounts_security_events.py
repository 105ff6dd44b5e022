"""Security events in the log and as metrics, and registration that does not reveal registered addresses."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from accounts.security_events import SecurityEvents
from starkeel_testing import Service, running

SignUp = Callable[[Service], Any]


def test_events_of_one_account_have_one_hash_and_no_address(
    service: Service, sign_up: SignUp, make: Any, body: Any
) -> None:
    counted = ("sign_in_refused", "sign_up_refused", "password_refused", "password_changed", "deactivated")
    before = {event: _count(service, event) for event in counted}
    person, stranger = sign_up(service), make.credentials.build()

    service.client.post(
        "/api/auth/token", json={"email": f" {person.email.upper()}", "password": "wrong one"}
    )
    service.client.post("/api/auth/token", json=body(stranger))
    service.client.post("/api/users", json=body(make.sign_up.build(email=person.email)))
    change = make.password_change.build(current_password=person.password)
    _change(service, person.headers, body(make.password_change.build()))
    assert _change(service, person.headers, body(change)).status_code == 200
    tokens = service.client.post(
        "/api/auth/token", json={"email": person.email, "password": change.new_password}
    ).json()
    again = {"Authorization": f"Bearer {tokens['access_token']}"}
    gone = service.client.request(
        "DELETE", "/api/users/me", headers=again, json={"password": change.new_password}
    )

    assert gone.status_code == 204
    account = service.wait_for_log("password changed", user_id=person.id)["account"]
    for message, kind in {
        "token refused": "sign_in_refused",
        "sign-up refused": "sign_up_refused",
        "password refused": "password_refused",
        "user deactivated": "deactivated",
    }.items():
        service.wait_for_log(message, account=account, event_kind=kind)
    refused = service.wait_for_log_where(
        lambda line: line["message"] == "token refused" and line["account"] != account
    )
    assert len(refused["account"]) == len(account) == 32
    assert {event: _count(service, event) - before[event] for event in counted} == dict.fromkeys(
        counted, 1
    ) | {"sign_in_refused": 2}
    for line in service.logs():
        if "event_kind" in line:
            assert "@" not in str(line)
    assert person.email not in service.output()
    assert stranger.email not in service.output()


def test_the_reuse_of_a_refresh_token_is_counted(service: Service, sign_up: SignUp) -> None:
    before = _count(service, "refresh_token_reused")
    person = sign_up(service)
    token = person.refresh_token
    for _ in range(2):
        token = service.client.post("/api/auth/refresh", json={"refresh_token": token}).json()[
            "refresh_token"
        ]

    response = service.client.post("/api/auth/refresh", json={"refresh_token": person.refresh_token})

    assert response.status_code == 401
    assert _count(service, "refresh_token_reused") == before + 1


def test_the_first_event_is_an_increase(hiding: Service) -> None:
    samples = {(sample.name, *sample.labels.values()) for sample in hiding.metrics()}

    assert ("security_events_total", "refresh_token_reused") in samples
    assert ("sessions_ended_total", "refresh_token_reused") in samples


def test_the_hash_of_an_account_depends_on_the_key() -> None:
    one, other = SecurityEvents(lambda: b"1" * 32), SecurityEvents(lambda: b"2" * 32)

    assert one.account("ada@example.com") == one.account(" Ada@Example.com ")
    assert one.account("ada@example.com") != other.account("ada@example.com")
    assert one.account("ada@example.com") != one.account("bob@example.com")
    assert one.account("\ud800")


def test_a_registration_does_not_reveal_registered_addresses(hiding: Service, make: Any, body: Any) -> None:
    request = make.sign_up.build()

    first = hiding.client.post("/api/users", json=body(request))
    again = hiding.client.post("/api/users", json=body(make.sign_up.build(email=request.email)))

    assert _visible(first) == _visible(again)
    assert (first.status_code, first.content) == (202, b"")
    assert hiding.client.post("/api/auth/token", json=body(request)).status_code == 200
    hiding.wait_for_log("sign-up refused", event_kind="sign_up_refused")
    weak = hiding.client.post("/api/users", json=body(make.sign_up.build(password="password123")))
    assert weak.status_code == 400


@pytest.fixture
def hiding(database_url: str) -> Iterator[Service]:
    env = {"DATABASE_URL": database_url, "SIGN_UP_HIDES_ADDRESSES": "true"}
    with running("accounts", env) as service:
        yield service


def _visible(response: httpx2.Response) -> tuple[int, bytes, list[str]]:
    return response.status_code, response.content, sorted(response.headers)


def _change(service: Service, headers: dict[str, str], change: Any) -> httpx2.Response:
    return service.client.patch("/api/users/me", headers=headers, json=change)


def _count(service: Service, event: str) -> float:
    return service.metric("security_events_total", event=event)
