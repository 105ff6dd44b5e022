"""Creating, listing, changing and deleting crates, with each database."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service

PATH = "/api/depot/crates"


def test_a_crate_is_created(service: Service, ada: Any, make: Any, body: Any) -> None:
    creation = make.creation.build()
    before = service.metric("depot_crates_created_total")

    response = service.client.post(PATH, json=body(creation), headers=ada.creating)

    assert response.status_code == 201, response.text
    crate = response.json()
    assert crate.keys() == {"id", "name", "quantity", "created_at", "updated_at"}
    assert (crate["name"], crate["quantity"]) == (creation.name, creation.quantity)
    assert response.headers["location"] == f"{PATH}/{crate['id']}"
    line = service.wait_for_log("crate created", crate_id=crate["id"])
    assert (line["level"], line["user_id"]) == ("INFO", ada.id)
    assert service.metric("depot_crates_created_total") == before + 1
    again = service.client.get(response.headers["location"], headers=ada.headers)
    assert again.json() == crate
    assert again.headers["etag"] == response.headers["etag"]
    assert again.headers["cache-control"] == "no-store, no-transform"


def test_a_repeated_key_creates_one_crate(service: Service, fresh: Any, make: Any, body: Any) -> None:
    headers, creation = fresh.creating, body(make.creation.build())

    first, second = (service.client.post(PATH, json=creation, headers=headers) for _ in range(2))
    other = service.client.post(PATH, json=creation | {"name": "another"}, headers=headers)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    _is_problem(other, 422)
    assert _listed(service, fresh) == [first.json()["id"]]


def test_of_concurrent_requests_with_one_key_one_is_executed(
    service: Service, fresh: Any, make: Any, body: Any
) -> None:
    headers, creation = fresh.creating, body(make.creation.build())

    with ThreadPoolExecutor(8) as pool:
        responses = list(
            pool.map(lambda _: service.client.post(PATH, json=creation, headers=headers), range(8))
        )

    created = {response.json()["id"] for response in responses if response.status_code == 201}
    assert _listed(service, fresh) == list(created)
    assert {response.status_code for response in responses} <= {201, 409}


def test_a_key_is_required(service: Service, ada: Any, make: Any, body: Any) -> None:
    response = service.client.post(PATH, json=body(make.creation.build()), headers=ada.headers)

    assert "Idempotency-Key" in _is_problem(response, 400)["detail"]


def test_that_of_another_user_is_not_found(service: Service, ada: Any, bob: Any) -> None:
    path, etag = _created(service, ada)
    condition = bob.headers | {"If-Match": etag}

    found = service.client.get(path, headers=bob.headers)
    unknown = service.client.get(f"{PATH}/{uuid4()}", headers=bob.headers)

    for response in (
        found,
        unknown,
        service.client.patch(path, json={"quantity": 2}, headers=condition),
        service.client.delete(path, headers=condition),
    ):
        _is_problem(response, 404)
    assert found.json()["detail"] == unknown.json()["detail"]
    assert path.rpartition("/")[2] not in _listed(service, bob)


def test_pages_contain_every_crate_once_newest_first(service: Service, fresh: Any) -> None:
    created = [_created(service, fresh)[0].rpartition("/")[2] for _ in range(5)]

    listed: list[str] = []
    response = service.client.get(PATH, params={"limit": 2}, headers=fresh.headers)
    while True:
        assert response.status_code == 200
        listed += [each["id"] for each in response.json()["items"]]
        assert (response.json()["next_cursor"] is None) == ("next" not in response.links)
        if "next" not in response.links:
            break
        # A new one does not shift the next page.
        _created(service, fresh)
        response = service.client.get(response.links["next"]["url"], headers=fresh.headers)

    assert listed == created[::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=" + "*" * 32])
def test_invalid_pagination_is_an_error_of_its_parameter(service: Service, ada: Any, query: str) -> None:
    problem = _is_problem(service.client.get(f"{PATH}?{query}", headers=ada.headers), 400)

    assert query.partition("=")[0] in str(problem)


def test_a_quantity_is_changed_with_the_current_etag(
    service: Service, ada: Any, make: Any, body: Any
) -> None:
    path, etag = _created(service, ada)
    change = make.change.build()

    response = _change(service, ada, path, body(change), etag)

    assert response.status_code == 200, response.text
    assert response.json()["quantity"] == change.quantity
    assert response.headers["etag"] != etag
    _is_problem(_change(service, ada, path, {"quantity": 3}, etag), 412)
    service.wait_for_log("crate changed", crate_id=response.json()["id"])


def test_a_crate_is_deleted_with_the_current_etag(service: Service, ada: Any) -> None:
    path, etag = _created(service, ada)

    _is_problem(service.client.delete(path, headers=ada.headers | {"If-Match": '"9"'}), 412)
    deleted = service.client.delete(path, headers=ada.headers | {"If-Match": etag})

    assert (deleted.status_code, deleted.content) == (204, b"")
    _is_problem(service.client.get(path, headers=ada.headers), 404)
    _is_problem(service.client.delete(path, headers=ada.headers | {"If-Match": etag}), 404)
    service.wait_for_log("crate deleted", crate_id=path.rpartition("/")[2])


def test_a_change_requires_if_match(service: Service, ada: Any) -> None:
    path, _ = _created(service, ada)

    for response in (
        service.client.patch(path, json={"quantity": 2}, headers=ada.headers),
        service.client.delete(path, headers=ada.headers),
    ):
        assert "If-Match" in _is_problem(response, 428)["detail"]


def test_of_concurrent_changes_one_succeeds(service: Service, ada: Any) -> None:
    path, etag = _created(service, ada)

    with ThreadPoolExecutor(8) as pool:
        responses = list(
            pool.map(lambda n: _change(service, ada, path, {"quantity": n}, etag), range(100, 108))
        )

    assert sorted(response.status_code for response in responses) == [200] + [412] * 7


@pytest.mark.parametrize("headers", [{"If-None-Match": "*"}, {"If-None-Match": '"1"'}])
def test_a_false_condition_changes_nothing(service: Service, ada: Any, headers: dict[str, str]) -> None:
    path, etag = _created(service, ada)
    condition = ada.headers | {"If-Match": etag} | headers

    _is_problem(service.client.patch(path, json={"quantity": 2}, headers=condition), 412)
    _is_problem(service.client.delete(path, headers=condition), 412)

    assert service.client.get(path, headers=ada.headers).headers["etag"] == etag


def test_a_known_crate_is_not_sent_again(service: Service, ada: Any) -> None:
    path, etag = _created(service, ada)

    known = service.client.get(path, headers=ada.headers | {"If-None-Match": etag})

    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    _is_problem(service.client.get(path, headers=ada.headers | {"If-Match": '"9"'}), 412)


def _created(service: Service, person: Any) -> tuple[str, str]:
    creation = {"name": "oak-plank", "quantity": 1}
    response = service.client.post(PATH, json=creation, headers=person.creating)
    assert response.status_code == 201, response.text
    return response.headers["location"], response.headers["etag"]


def _change(service: Service, person: Any, path: str, change: Any, etag: str) -> httpx2.Response:
    return service.client.patch(path, json=change, headers=person.headers | {"If-Match": etag})


def _listed(service: Service, person: Any) -> list[str]:
    return [each["id"] for each in service.client.get(PATH, headers=person.headers).json()["items"]]


def _is_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = response.json()
    return problem
