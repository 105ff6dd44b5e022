"""Placing, listing, changing and cancelling orders, with each database."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service


def test_an_order_is_placed(service: Service, ada: Any, make: Any, body: Any) -> None:
    placement = make.placement.build(product_type="oak-plank")
    before = service.metric("orders_created_total", product="oak-plank")
    observed = service.metric("order_creation_duration_seconds_count")

    response = service.client.post("/api/orders", json=body(placement), headers=ada.placing)

    assert response.status_code == 201, response.text
    order = response.json()
    assert order.keys() == {"id", "product_type", "quantity", "status", "created_at", "updated_at"}
    assert (order["product_type"], order["quantity"], order["status"]) == (
        "oak-plank",
        placement.quantity,
        "open",
    )
    assert response.headers["location"] == f"/api/orders/{order['id']}"
    line = service.wait_for_log("order created", order_id=order["id"])
    assert (line["level"], line["user_id"]) == ("INFO", ada.id)
    assert service.metric("orders_created_total", product="oak-plank") == before + 1
    assert service.metric("order_creation_duration_seconds_count") == observed + 1
    again = service.client.get(response.headers["location"], headers=ada.headers)
    assert again.json() == order
    assert again.headers["etag"] == response.headers["etag"]


def test_an_order_of_another_user_is_not_found(service: Service, ada: Any, bob: Any) -> None:
    order_id, etag = _placed(service, ada)
    path = f"/api/orders/{order_id}"

    found = service.client.get(path, headers=bob.headers)
    changed = service.client.patch(path, json={"quantity": 2}, headers=bob.headers | {"If-Match": etag})
    cancelled = service.client.post(f"{path}/cancel", headers=bob.headers)
    unknown = service.client.get(f"/api/orders/{uuid4()}", headers=bob.headers)

    for response in (found, changed, cancelled, unknown):
        _is_problem(response, 404)
    assert found.json()["detail"] == unknown.json()["detail"]
    assert order_id not in service.client.get("/api/orders", headers=bob.headers).text


def test_pages_contain_every_order_once_newest_first(service: Service, fresh: Any) -> None:
    placed = [_placed(service, fresh)[0] for _ in range(7)]

    listed: list[str] = []
    response = service.client.get("/api/orders", params={"limit": 3}, headers=fresh.headers)
    while True:
        assert response.status_code == 200
        listed += [order["id"] for order in response.json()["items"]]
        assert (response.json()["next_cursor"] is None) == ("next" not in response.links)
        if "next" not in response.links:
            break
        response = service.client.get(response.links["next"]["url"], headers=fresh.headers)

    assert listed == placed[::-1]


def test_an_order_placed_meanwhile_does_not_shift_the_next_page(service: Service, fresh: Any) -> None:
    placed = [_placed(service, fresh)[0] for _ in range(4)]
    first = service.client.get("/api/orders", params={"limit": 2}, headers=fresh.headers)

    _placed(service, fresh)

    second = service.client.get(first.links["next"]["url"], headers=fresh.headers)
    assert [order["id"] for order in second.json()["items"]] == [placed[1], placed[0]]
    assert "next" not in second.links


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=1.5", "limit=-1", "cursor=x", "cursor=" + "*" * 32]
)
def test_invalid_pagination_is_an_error_of_its_parameter(service: Service, ada: Any, query: str) -> None:
    problem = _is_problem(service.client.get(f"/api/orders?{query}", headers=ada.headers), 400)

    assert query.partition("=")[0] in str(problem)


def test_a_quantity_is_changed_with_the_current_etag(
    service: Service, ada: Any, make: Any, body: Any
) -> None:
    order_id, etag = _placed(service, ada)
    change = make.change.build()

    response = _change(service, ada, order_id, body(change), etag)

    assert response.status_code == 200, response.text
    assert response.json()["quantity"] == change.quantity
    assert response.headers["etag"] != etag
    service.wait_for_log("order changed", order_id=order_id)


def test_a_change_requires_if_match(service: Service, ada: Any) -> None:
    order_id, _ = _placed(service, ada)

    response = service.client.patch(f"/api/orders/{order_id}", json={"quantity": 2}, headers=ada.headers)

    assert "If-Match" in _is_problem(response, 428)["detail"]


def test_a_change_with_a_stale_etag_is_rejected(service: Service, ada: Any) -> None:
    order_id, etag = _placed(service, ada)
    assert _change(service, ada, order_id, {"quantity": 2}, etag).status_code == 200

    stale = _change(service, ada, order_id, {"quantity": 3}, etag)

    _is_problem(stale, 412)
    assert service.client.get(f"/api/orders/{order_id}", headers=ada.headers).json()["quantity"] == 2


def test_of_concurrent_changes_one_succeeds(service: Service, ada: Any) -> None:
    order_id, etag = _placed(service, ada)

    with ThreadPoolExecutor(8) as pool:
        responses = list(
            pool.map(lambda n: _change(service, ada, order_id, {"quantity": n}, etag), range(100, 108))
        )

    assert sorted(response.status_code for response in responses) == [200] + [412] * 7


def test_a_cancelled_order_cannot_be_changed(service: Service, ada: Any) -> None:
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
    logged = [
        line
        for line in service.logs()
        if line["message"] == "order cancelled" and line.get("order_id") == order_id
    ]
    assert len(logged) == 1


@pytest.mark.parametrize("tag", ['W/"1"', '"1-gzip"', '"1;gzip"', '"1--gzip"', 'W/"1-br"'])
def test_a_tag_that_a_compressing_proxy_changed_is_accepted(service: Service, ada: Any, tag: str) -> None:
    order_id, etag = _placed(service, ada)
    assert etag == '"1"'

    assert _change(service, ada, order_id, {"quantity": 2}, tag).status_code == 200
    _is_problem(_change(service, ada, order_id, {"quantity": 3}, tag), 412)


def test_proxies_may_not_transform_a_response_with_a_tag(service: Service, ada: Any) -> None:
    order_id, _ = _placed(service, ada)

    response = service.client.get(f"/api/orders/{order_id}", headers=ada.headers)

    assert response.headers["cache-control"] == "no-store, no-transform"


@pytest.mark.parametrize(
    "headers",
    [{"If-Match": '"2"'}, {"If-Match": '"7", "8"'}, {"If-None-Match": "*"}, {"If-None-Match": '"1"'}],
)
def test_a_false_condition_changes_nothing(service: Service, ada: Any, headers: dict[str, str]) -> None:
    order_id, etag = _placed(service, ada)
    path, condition = f"/api/orders/{order_id}", ada.headers | {"If-Match": etag} | headers

    _is_problem(service.client.patch(path, json={"quantity": 2}, headers=condition), 412)
    _is_problem(service.client.post(f"{path}/cancel", headers=ada.headers | headers), 412)

    found = service.client.get(path, headers=ada.headers)
    assert (found.json()["status"], found.headers["etag"]) == ("open", etag)


def test_an_order_is_cancelled_in_the_version_that_was_read(service: Service, ada: Any) -> None:
    order_id, etag = _placed(service, ada)
    assert _change(service, ada, order_id, {"quantity": 2}, etag).status_code == 200
    path = f"/api/orders/{order_id}/cancel"

    _is_problem(service.client.post(path, headers=ada.headers | {"If-Match": etag}), 412)
    again = [service.client.post(path, headers=ada.headers | {"If-Match": '"2"'}) for _ in range(2)]

    assert [response.status_code for response in again] == [200, 200]
    _is_problem(service.client.post(path, headers=ada.headers | {"If-Match": etag}), 412)


def test_an_order_that_is_known_is_not_sent_again(service: Service, ada: Any) -> None:
    order_id, etag = _placed(service, ada)
    path = f"/api/orders/{order_id}"

    known = service.client.get(path, headers=ada.headers | {"If-None-Match": etag})
    stale = service.client.get(path, headers=ada.headers | {"If-Match": '"9"'})

    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    _is_problem(stale, 412)


def _placed(service: Service, person: Any) -> tuple[str, str]:
    response = service.client.post(
        "/api/orders", json={"product_type": "oak-plank", "quantity": 1}, headers=person.placing
    )
    assert response.status_code == 201, response.text
    return response.json()["id"], response.headers["etag"]


def _change(service: Service, person: Any, order_id: str, change: Any, etag: str) -> httpx2.Response:
    headers = person.headers | {"If-Match": etag}
    return service.client.patch(f"/api/orders/{order_id}", json=change, headers=headers)


def _is_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    return problem
