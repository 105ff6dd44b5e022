"""Registration, change of the password and deactivation, with each database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx2
import pytest
from starkeel_testing import Service


def test_a_user_is_created(service: Service, make: Any, body: Any) -> None:
    before = service.metric("users_created_total")
    request = make.sign_up.build()

    response = service.client.post("/api/users", json=body(request))

    assert response.status_code == 201
    assert response.headers["location"] == "/api/users/me"
    assert response.json().keys() == {"id", "email", "email_verified", "created_at"}
    assert response.json()["email"] == request.email
    line = service.wait_for_log("user created", user_id=response.json()["id"])
    assert line["level"] == "INFO"
    assert request.email not in service.output()
    assert request.password not in service.output()
    assert service.metric("users_created_total") == before + 1


def test_addresses_are_unique_regardless_of_letter_case(service: Service, make: Any, body: Any) -> None:
    request = make.sign_up.build()
    assert service.client.post("/api/users", json=body(request)).status_code == 201

    again = body(make.sign_up.build(email=request.email.upper()))
    response = service.client.post("/api/users", json=again)

    _is_problem(response, 409)


def test_of_concurrent_registrations_one_succeeds(service: Service, make: Any, body: Any) -> None:
    request = body(make.sign_up.build())

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: service.client.post("/api/users", json=request), range(8)))

    assert sorted(response.status_code for response in responses) == [201] + [409] * 7


@pytest.mark.parametrize("password", ["password123", "7 chars", "x" * 130])
def test_a_weak_password_is_an_error_of_its_field(
    service: Service, make: Any, body: Any, password: str
) -> None:
    response = service.client.post("/api/users", json=body(make.sign_up.build(password=password)))

    problem = _is_problem(response, 400)
    assert "password" in str(problem["errors"])
    assert password not in response.text


def test_the_name_in_the_address_is_rejected_as_password(service: Service, make: Any, body: Any) -> None:
    request = make.sign_up.build()

    weak = body(request) | {"password": request.email.partition("@")[0]}

    problem = _is_problem(service.client.post("/api/users", json=weak), 400)
    assert "password" in str(problem["errors"])


@pytest.mark.parametrize("email", ["invalid", "a@b", "a b@example.com", "a\u0000@example.com"])
def test_an_invalid_address_is_an_error_of_its_field(
    service: Service, make: Any, body: Any, email: str
) -> None:
    response = service.client.post("/api/users", json=body(make.sign_up.build(email=email)))

    assert "email" in str(_is_problem(response, 400)["errors"])


def test_the_current_user_is_returned(service: Service, sign_up: Callable[[Service], Any]) -> None:
    person = sign_up(service)

    response = service.client.get("/api/users/me", headers=person.headers)

    assert response.status_code == 200
    assert (response.json()["id"], response.json()["email"]) == (person.id, person.email)
    assert response.headers["cache-control"] == "no-store"
    assert UUID(person.id)


def test_after_a_change_only_the_new_password_is_valid(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)
    change = make.password_change.build(current_password=person.password)

    response = service.client.patch("/api/users/me", headers=person.headers, json=body(change))

    assert response.status_code == 200, response.text
    assert _token(service, person.email, change.new_password).status_code == 200
    assert _token(service, person.email, person.password).status_code == 401
    service.wait_for_log("password changed", user_id=person.id)


def test_a_change_requires_the_current_password(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)

    response = service.client.patch(
        "/api/users/me", headers=person.headers, json=body(make.password_change.build())
    )

    _is_problem(response, 403)
    assert _token(service, person.email, person.password).status_code == 200


def test_a_new_password_must_satisfy_the_same_rules(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)
    change = make.password_change.build(current_password=person.password, new_password="iloveyou123")

    response = service.client.patch("/api/users/me", headers=person.headers, json=body(change))

    assert "new_password" in str(_is_problem(response, 400)["errors"])


def test_a_deactivated_user_gets_no_token_and_existing_ones_are_rejected(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)

    deactivation = body(make.deactivation.build(password=person.password))
    response = service.client.request("DELETE", "/api/users/me", headers=person.headers, json=deactivation)

    assert response.status_code == 204
    assert response.content == b""
    _is_problem(service.client.get("/api/users/me", headers=person.headers), 403)
    _is_problem(_token(service, person.email, person.password), 401)
    _is_problem(service.client.post("/api/users", json=body(make.sign_up.build(email=person.email))), 409)
    service.wait_for_log("user deactivated", user_id=person.id)


def test_deactivation_requires_the_password(
    service: Service, make: Any, body: Any, sign_up: Callable[[Service], Any]
) -> None:
    person = sign_up(service)

    response = service.client.request(
        "DELETE", "/api/users/me", headers=person.headers, json=body(make.deactivation.build())
    )

    _is_problem(response, 403)
    assert service.client.get("/api/users/me", headers=person.headers).status_code == 200


def _token(service: Service, email: str, password: str) -> httpx2.Response:
    return service.client.post("/api/auth/token", json={"email": email, "password": password})


def _is_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    return problem
