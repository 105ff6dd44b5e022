"""Signing up, changing the password, leaving: against a running service on each database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx2
import pytest
from starkeel_testing import Service


def test_a_user_signs_up(service: Service, make: Any, body: Any) -> None:
    before = service.metric("users_created_total")
    request = make.sign_up.build()

    answer = service.client.post("/api/users", json=body(request))

    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/users/me"
    assert answer.json().keys() == {"id", "email", "created_at"}
    assert answer.json()["email"] == request.email
    line = service.wait_for_log("user created", user_id=answer.json()["id"])
    assert line["level"] == "INFO"
    assert request.email not in service.output()
    assert request.password not in service.output()
    assert service.metric("users_created_total") == before + 1


def test_an_address_is_taken_whatever_its_letter_case(service: Service, make: Any, body: Any) -> None:
    request = make.sign_up.build()
    assert service.client.post("/api/users", json=body(request)).status_code == 201

    again = body(make.sign_up.build(email=request.email.upper()))
    answer = service.client.post("/api/users", json=again)

    _is_problem(answer, 409)


def test_of_many_at_once_one_gets_the_address(service: Service, make: Any, body: Any) -> None:
    request = body(make.sign_up.build())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.client.post("/api/users", json=request), range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@pytest.mark.parametrize("password", ["password123", "7 chars", "x" * 130])
def test_a_weak_password_is_refused_by_field(service: Service, make: Any, body: Any, password: str) -> None:
    answer = service.client.post("/api/users", json=body(make.sign_up.build(password=password)))

    problem = _is_problem(answer, 400)
    assert "password" in str(problem["errors"])
    assert password not in answer.text


def test_the_name_in_the_address_is_no_password(service: Service, make: Any, body: Any) -> None:
    request = make.sign_up.build()

    weak = body(request) | {"password": request.email.partition("@")[0]}

    problem = _is_problem(service.client.post("/api/users", json=weak), 400)
    assert "password" in str(problem["errors"])


@pytest.mark.parametrize("email", ["nobody", "a@b", "a b@example.com", "a\u0000@example.com"])
def test_what_is_no_address_is_refused_by_field(service: Service, make: Any, body: Any, email: str) -> None:
    answer = service.client.post("/api/users", json=body(make.sign_up.build(email=email)))

    assert "email" in str(_is_problem(answer, 400)["errors"])


def test_who_am_i(service: Service, sign_up: Callable[[Service], Any]) -> None:
    person = sign_up(service)

    answer = service.client.get("/api/users/me", headers=person.headers)

    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["email"]) == (person.id, person.email)
    assert answer.headers["cache-control"] == "no-store"
    assert UUID(person.id)


def test_a_changed_password_opens_and_the_old_one_does_not(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)
    change = make.password_change.build(current_password=person.password)

    answer = service.client.patch("/api/users/me", headers=person.headers, json=body(change))

    assert answer.status_code == 200, answer.text
    assert _token(service, person.email, change.new_password).status_code == 200
    assert _token(service, person.email, person.password).status_code == 401
    service.wait_for_log("password changed", user_id=person.id)


def test_the_password_is_changed_only_by_who_knows_it(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)

    answer = service.client.patch(
        "/api/users/me", headers=person.headers, json=body(make.password_change.build())
    )

    _is_problem(answer, 403)
    assert _token(service, person.email, person.password).status_code == 200


def test_a_new_password_is_held_to_the_same_rules(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)
    change = make.password_change.build(current_password=person.password, new_password="iloveyou123")

    answer = service.client.patch("/api/users/me", headers=person.headers, json=body(change))

    assert "new_password" in str(_is_problem(answer, 400)["errors"])


def test_who_left_gets_no_token_and_the_last_one_opens_nothing(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)

    leaving = body(make.deactivation.build(password=person.password))
    answer = service.client.request("DELETE", "/api/users/me", headers=person.headers, json=leaving)

    assert answer.status_code == 204
    assert answer.content == b""
    _is_problem(service.client.get("/api/users/me", headers=person.headers), 403)
    _is_problem(_token(service, person.email, person.password), 401)
    _is_problem(service.client.post("/api/users", json=body(make.sign_up.build(email=person.email))), 409)
    service.wait_for_log("user deactivated", user_id=person.id)


def test_leaving_takes_the_password(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)

    answer = service.client.request(
        "DELETE", "/api/users/me", headers=person.headers, json=body(make.deactivation.build())
    )

    _is_problem(answer, 403)
    assert service.client.get("/api/users/me", headers=person.headers).status_code == 200


def _token(service: Service, email: str, password: str) -> httpx2.Response:
    return service.client.post("/api/auth/token", json={"email": email, "password": password})


def _is_problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    return problem
