"""Placing, listing, changing and cancelling orders: against running services, on each database."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service


def test_an_order_is_placed(service: Service, ada: Any, make: Any, body: Any) -> None:
    placement = make.placement.build(product_type="oak-plank")
    before = service.metric("orders_created_total", product="oak-plank")
    timed = service.metric("order_creation_duration_seconds_count")

    answer = service.client.post("/api/orders", json=body(placement), headers=ada.placing)

    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert order.keys() == {"id", "product_type", "quantity", "status", "created_at", "updated_at"}
    assert (order["product_type"], order["quantity"], order["status"]) == (
        "oak-plank",
        placement.quantity,
        "open",
    )
    assert answer.headers["location"] == f"/api/orders/{order['id']}"
    line = service.wait_for_log("order created", order_id=order["id"])
    assert (line["level"], line["user_id"]) == ("INFO", ada.id)
    assert service.metric("orders_created_total", product="oak-plank") == before + 1
    assert service.metric("order_creation_duration_seconds_count") == timed + 1
    again = service.client.get(answer.headers["location"], headers=ada.headers)
    assert again.json() == order
    assert again.headers["etag"] == answer.headers["etag"]


def test_anothers_order_is_as_if_there_were_none(service: Service, ada: Any, bob: Any) -> None:
    order_id, etag = _placed(service, ada)
    path = f"/api/orders/{order_id}"

    looked = service.client.get(path, headers=bob.headers)
    changed = service.client.patch(path, json={"quantity": 2}, headers=bob.headers | {"If-Match": etag})
    cancelled = service.client.post(f"{path}/cancel", headers=bob.headers)
    unknown = service.client.get(f"/api/orders/{uuid4()}", headers=bob.headers)

    for answer in (looked, changed, cancelled, unknown):
        _is_problem(answer, 404)
    assert looked.json()["detail"] == unknown.json()["detail"]
    assert order_id not in service.client.get("/api/orders", headers=bob.headers).text


def test_pages_hold_every_order_once_the_newest_first(service: Service, fresh: Any) -> None:
    placed = [_placed(service, fresh)[0] for _ in range(7)]

    seen: list[str] = []
    answer = service.client.get("/api/orders", params={"limit": 3}, headers=fresh.headers)
    while True:
        assert answer.status_code == 200
        seen += [order["id"] for order in answer.json()["items"]]
        assert (answer.json()["next_cursor"] is None) == ("next" not in answer.links)
        if "next" not in answer.links:
            break
        answer = service.client.get(answer.links["next"]["url"], headers=fresh.headers)

    assert seen == placed[::-1]


def test_an_order_placed_meanwhile_neither_repeats_nor_hides_one(service: Service, fresh: Any) -> None:
    placed = [_placed(service, fresh)[0] for _ in range(4)]
    first = service.client.get("/api/orders", params={"limit": 2}, headers=fresh.headers)

    _placed(service, fresh)

    second = service.client.get(first.links["next"]["url"], headers=fresh.headers)
    assert [order["id"] for order in second.json()["items"]] == [placed[1], placed[0]]
    assert "next" not in second.links


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=1.5", "limit=-1", "cursor=x", "cursor=" + "*" * 32]
)
def test_a_page_that_cannot_be_is_refused_by_parameter(service: Service, ada: Any, query: str) -> None:
    problem = _is_problem(service.client.get(f"/api/orders?{query}", headers=ada.headers), 400)

    assert query.partition("=")[0] in str(problem)


def test_a_quantity_is_changed_by_who_knows_the_order_as_it_is(
    service: Service, ada: Any, make: Any, body: Any
) -> None:
    order_id, etag = _placed(service, ada)
    change = make.change.build()

    answer = _change(service, ada, order_id, body(change), etag)

    assert answer.status_code == 200, answer.text
    assert answer.json()["quantity"] == change.quantity
    assert answer.headers["etag"] != etag
    service.wait_for_log("order changed", order_id=order_id)


def test_a_change_without_if_match_is_asked_for_one(service: Service, ada: Any) -> None:
    order_id, _ = _placed(service, ada)

    answer = service.client.patch(f"/api/orders/{order_id}", json={"quantity": 2}, headers=ada.headers)

    assert "If-Match" in _is_problem(answer, 428)["detail"]


def test_a_change_of_what_has_changed_since_is_refused(service: Service, ada: Any) -> None:
    order_id, etag = _placed(service, ada)
    assert _change(service, ada, order_id, {"quantity": 2}, etag).status_code == 200

    stale = _change(service, ada, order_id, {"quantity": 3}, etag)

    _is_problem(stale, 412)
    assert service.client.get(f"/api/orders/{order_id}", headers=ada.headers).json()["quantity"] == 2


def test_of_many_changes_at_once_one_wins(service: Service, ada: Any) -> None:
    order_id, etag = _placed(service, ada)

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: _change(service, ada, order_id, {"quantity": n}, etag), range(100, 108))
        )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


def test_a_cancelled_order_stays_cancelled_and_unchanged(service: Service, ada: Any) -> None:
    order_id, _ = _placed(service, ada)

    first = service.client.post(f"/api/orders/{order_id}/cancel", headers=ada.headers)
    second = service.client.post(f"/api/orders/{order_id}/cancel", headers=ada.headers)

    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert (second.status_code, second.json(), second.headers["etag"]) == (
        200,
        first.json(),
        first.headers["etag"],
    )
    _is_problem(_change(service, ada, order_id, {"quantity": 2}, first.headers["etag"]), 409)
    service.wait_for_log("order cancelled", order_id=order_id)
    told = [
        line
        for line in service.logs()
        if line["message"] == "order cancelled" and line.get("order_id") == order_id
    ]
    assert len(told) == 1


def _placed(service: Service, person: Any) -> tuple[str, str]:
    answer = service.client.post(
        "/api/orders", json={"product_type": "oak-plank", "quantity": 1}, headers=person.placing
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.headers["etag"]


def _change(service: Service, person: Any, order_id: str, change: Any, etag: str) -> httpx2.Response:
    headers = person.headers | {"If-Match": etag}
    return service.client.patch(f"/api/orders/{order_id}", json=change, headers=headers)


def _is_problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    return problem
