"""Every operation of the OpenAPI documents with each kind of access token, from a table.

The tables of the routes, and of the objects: a user's token gives no access to another user's.
"""

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from starkeel_testing import wait_until

from ...support.fleet import Fleet, Person
from ...support.operations import Operation, operations, response_to
from .access_cases import BROKEN, ROWS

CASES = [(service, name) for service, rows in ROWS.items() for name in rows]


@cache
def described(fleet: Fleet, service: str) -> dict[str, Operation]:
    document = fleet.services[service].client.get("/schema/openapi.json").json()
    return {each.name: each for each in operations(document)}


@pytest.fixture(scope="module")
def ended(fleet: Fleet) -> dict[str, Person]:
    """Users whose tokens ended: by deactivation, and by signing out; both services know it."""
    deactivated, signed_out = fleet.new_person(), fleet.new_person()
    accounts, orders = fleet.services["accounts"].client, fleet.services["orders"].client
    headers = {"Authorization": deactivated.bearer}
    removed = accounts.request(
        "DELETE", "/api/users/me", headers=headers, json={"password": deactivated.password}
    )
    assert removed.status_code == 204, removed.text
    headers = {"Authorization": signed_out.bearer}
    assert accounts.post("/api/auth/sign-out", headers=headers).status_code == 204
    for person in (deactivated, signed_out):
        bearer = {"Authorization": person.bearer}
        wait_until(
            lambda bearer=bearer: orders.get("/api/orders", headers=bearer).status_code == 401,  # type: ignore[misc]
            what="orders to follow the revocations",
        )
    return {"deactivated": deactivated, "ended": signed_out}


def test_every_operation_has_a_row(fleet: Fleet) -> None:
    for service, rows in ROWS.items():
        documented = set(described(fleet, service))
        assert sorted(documented - set(rows)) == [], f"add rows of {service} to access_cases.py"
        assert sorted(set(rows) - documented) == [], f"remove rows of {service} from access_cases.py"


@pytest.mark.parametrize(("service", "name"), CASES)
def test_each_kind_of_token_has_the_status_of_the_table(
    fleet: Fleet, ended: dict[str, Person], service: str, name: str
) -> None:
    row, operation = ROWS[service][name], described(fleet, service)[name]
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
    assert found == expected, f"the row of {service}, {name} in access_cases.py"


def _check_challenge(kind: str, status: int, headers: Any) -> None:
    # RFC 6750, 3: a client learns why its token is refused.
    if status == 401:
        assert headers["www-authenticate"].startswith(("Bearer", "Basic")), kind


@pytest.mark.parametrize("service", ROWS)
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
