"""Every operation of the OpenAPI documents with each kind of access token, from the tables of the services.

The tables of the routes, and of the objects: a user's token gives no access to another user's.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from starkeel_testing import wait_until

from tools.registry import read

from ...support.api_cases import BROKEN, api_cases
from ...support.fleet import Fleet, Person
from ...support.operations import Operation, operations, response_to

CASES = [(service, name) for service, cases in api_cases().items() for name in cases.access]
WITH_OBJECTS = [service for service, cases in api_cases().items() if cases.has_objects]


@cache
def described(fleet: Fleet, service: str) -> dict[str, Operation]:
    document = fleet.services[service].client.get("/schema/openapi.json").json()
    return {each.name: each for each in operations(document)}


@pytest.fixture(scope="module")
def ended(fleet: Fleet) -> dict[str, Person]:
    """Users whose tokens ended: by deactivation, and by signing out; every service has the revocations."""
    deactivated, signed_out = fleet.new_person(), fleet.new_person()
    accounts = fleet.services["accounts"].client
    headers = {"Authorization": deactivated.bearer}
    removed = accounts.request(
        "DELETE", "/api/users/me", headers=headers, json={"password": deactivated.password}
    )
    assert removed.status_code == 204, removed.text
    headers = {"Authorization": signed_out.bearer}
    assert accounts.post("/api/auth/sign-out", headers=headers).status_code == 204
    for person in (deactivated, signed_out):
        for service, path in _verifying_services():
            wait_until(
                lambda client=fleet.services[service].client, path=path, token=person.bearer: (  # type: ignore[misc]
                    client.get(path, headers={"Authorization": token}).status_code == 401
                ),
                what=f"{service} to follow the revocations",
            )
    return {"deactivated": deactivated, "ended": signed_out}


def _verifying_services() -> Iterator[tuple[str, str]]:
    """Yield services that verify tokens of another one, each with a path that needs no object."""
    for service in read():
        if "tokens" in service.needs:
            names = [
                name
                for name, row in api_cases()[service.name].access.items()
                if (row.own, row.ended) == (200, 401)
            ]
            yield (
                service.name,
                next(
                    name.removeprefix("get ") for name in names if name.startswith("get ") and "{" not in name
                ),
            )


@pytest.mark.parametrize("service", api_cases())
def test_every_operation_has_a_row(fleet: Fleet, service: str) -> None:
    rows, documented = set(api_cases()[service].access), set(described(fleet, service))

    assert sorted(documented - rows) == [], f"add rows to services/{service}/tests/api_cases.py"
    assert sorted(rows - documented) == [], f"remove rows from services/{service}/tests/api_cases.py"


@pytest.mark.parametrize(("service", "name"), CASES)
def test_each_kind_of_token_has_the_status_of_the_table(
    fleet: Fleet, ended: dict[str, Person], service: str, name: str
) -> None:
    row, operation = api_cases()[service].access[name], described(fleet, service)[name]
    tokens: dict[str, Callable[[Person], str | None]] = {
        "none": lambda _: None,
        "stranger": lambda _: fleet.new_person().bearer,
        "deactivated": lambda _: ended["deactivated"].bearer,
        "ended": lambda _: ended["ended"].bearer,
        "without_scope": lambda person: fleet.authorization(person, scope=""),
        "of_service": lambda person: fleet.authorization(person, sub="a service"),
    }
    expected = {kind: getattr(row, kind) for kind in tokens}
    # An operation that reads no token gets two of them.
    for flaw in BROKEN if row.broken == 401 else BROKEN[:2]:
        tokens[f"broken: {flaw}"] = lambda person, flaw=flaw: fleet.forged(person, flaw)  # type: ignore[misc]
        expected[f"broken: {flaw}"] = row.broken
    # Last, with the same user: the request was right in all cases that were refused.
    tokens["own"], expected["own"] = (lambda person: person.bearer), row.own
    ada = fleet.new_person()
    found: dict[str, int] = {}
    for kind, token in tokens.items():
        # An accepted request may change the user or the objects.
        person = fleet.new_person() if expected[kind] < 300 and kind != "own" else ada
        headers = {"Authorization": value} if (value := token(person)) is not None else {}
        values = fleet.values(person, service)
        with response_to(
            fleet.services[service], operation, headers=headers, values=values, has_body=row.has_body
        ) as response:
            found[kind] = response.status_code
            _check_challenge(kind, response.status_code, response.headers)
    assert found == expected, f"the row of {name} in services/{service}/tests/api_cases.py"


def _check_challenge(kind: str, status: int, headers: Any) -> None:
    # RFC 6750, 3: a client learns why its token is refused.
    if status == 401:
        assert headers["www-authenticate"].startswith(("Bearer", "Basic")), kind


@pytest.mark.parametrize("service", WITH_OBJECTS)
def test_an_unknown_object_is_refused_like_that_of_another_user(fleet: Fleet, service: str) -> None:
    """A different response would reveal which ids exist."""
    ada, bob = fleet.new_person(), fleet.new_person()
    values = fleet.values(ada, service)
    headers = {"Authorization": bob.bearer}
    compared = 0
    for operation in described(fleet, service).values():
        names = [each["name"] for each in operation.parameters if each["in"] == "path"]
        if not names:
            continue
        compared += 1
        unknown = values | dict.fromkeys(names, str(uuid4()))
        answers = []
        for each in (values, unknown):
            with response_to(fleet.services[service], operation, headers=headers, values=each) as response:
                problem = response.json()
                answers.append({k: problem[k] for k in problem if k not in {"instance", "request_id"}})
        assert answers[0] == answers[1], operation.name
        assert answers[0]["status"] == 404, operation.name
    assert compared > 0
