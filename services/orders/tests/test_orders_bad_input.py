"""What cannot be read, is not described or is not allowed: a problem each, never a 5xx."""

from typing import Any

import pytest
from starkeel_testing import Service

GOOD = b'{"product_type": "oak-plank", "quantity": 1}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        GOOD[:-1],
        b'{"product_type": "oak-\xff", "quantity": 1}',
        b'{"product_type": "\\ud800", "quantity": 1}',
        b'{"product_type": "oak-plank", "quantity": NaN}',
        b'{"product_type": "oak-plank", "quantity": Infinity}',
        b'{"product_type": "oak-plank", "quantity": 1e400}',
        b'{"product_type": "oak-plank", "quantity": 1e3000000000}',
        b'{"product_type": "oak-plank", "quantity": 0}',
        b'{"product_type": "oak-plank", "quantity": -1}',
        b'{"product_type": "oak-plank", "quantity": 1000001}',
        b'{"product_type": "oak-plank", "quantity": 9223372036854775808}',
        b'{"product_type": "oak-plank", "quantity": ' + b"9" * 5000 + b"}",
        b'{"product_type": "oak-plank", "quantity": 1.5}',
        b'{"product_type": "oak-plank", "quantity": "1"}',
        b'{"product_type": "oak-plank", "quantity": true}',
        b'{"product_type": "oak-plank", "quantity": null}',
        b'{"product_type": "oak-plank"}',
        b'{"product_type": "Oak", "quantity": 1}',
        b'{"product_type": "", "quantity": 1}',
        b'{"product_type": "oak\\n", "quantity": 1}',
        b'{"product_type": "oak\\u0000", "quantity": 1}',
        b'{"product_type": "' + b"a" * 65 + b'", "quantity": 1}',
        b'{"product_type": 7, "quantity": 1}',
        b'{"product_type": "oak-plank", "quantity": 1, "price": 0}',
        b"[" * 100_000,
        b'{"product_type":' * 50_000,
        b"null",
        b"[]",
    ],
    ids=lambda content: content[:60].decode("latin-1"),
)
def test_an_order_that_is_not_as_described_is_a_problem(service: Service, ada: Any, content: bytes) -> None:
    answer = service.client.post(
        "/api/orders", content=content, headers=ada.placing | {"Content-Type": "application/json"}
    )

    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["status"] == answer.status_code
    assert "Traceback" not in answer.text


def test_a_body_over_the_limit_is_refused(service: Service, ada: Any) -> None:
    answer = service.client.post(
        "/api/orders",
        content=b" " * (1024 * 1024) + GOOD,
        headers=ada.placing | {"Content-Type": "application/json"},
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/order", 404),
        ("GET", "/api/orders/not-a-uuid", 404),
        ("DELETE", "/api/orders", 405),
        ("PUT", "/api/orders/019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10", 405),
    ],
)
def test_an_unknown_route_or_method_is_a_problem(
    service: Service, ada: Any, method: str, path: str, status: int
) -> None:
    answer = service.client.request(method, path, headers=ada.headers)

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/orders"),
        ("POST", "/api/orders"),
        ("GET", "/api/orders/019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10"),
        ("PATCH", "/api/orders/019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10"),
        ("POST", "/api/orders/019aaf40-2f2b-7a3e-9e55-3a0f7b1d9c10/cancel"),
        ("GET", "/api/orders/events"),
    ],
)
@pytest.mark.parametrize("flaw", ["absent", "garbage", "expired", "other key", "other audience"])
def test_nobody_gets_in_without_a_good_token(
    service: Service, method: str, path: str, flaw: str, forged: Any
) -> None:
    headers = {} if flaw == "absent" else {"Authorization": f"Bearer {forged(flaw)}"}

    answer = service.client.request(method, path, headers=headers, content=GOOD)

    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_token_without_the_scope_opens_only_what_it_allows(service: Service, forged: Any) -> None:
    headers = {"Authorization": f"Bearer {forged('none', scope='orders:read')}", "Idempotency-Key": "k"}

    assert service.client.get("/api/orders", headers=headers).status_code == 200
    assert service.client.post("/api/orders", headers=headers, content=GOOD).status_code == 403


@pytest.mark.parametrize("if_match", ["", "1", '"1', "x" * 2000, "*, *"])
def test_a_wrong_if_match_is_refused(service: Service, ada: Any, if_match: str) -> None:
    placed = service.client.post("/api/orders", content=GOOD, headers=ada.placing)

    answer = service.client.patch(
        placed.headers["location"], json={"quantity": 2}, headers=ada.headers | {"If-Match": if_match}
    )

    assert answer.status_code == 400, answer.text
