"""Invalid, undocumented or forbidden requests result in a problem response, never in a 5xx."""

from typing import Any

import pytest
from starkeel_testing import Service

VALID = b'{"product_type": "oak-plank", "quantity": 1}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        VALID[:-1],
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
def test_an_invalid_order_is_a_problem(service: Service, ada: Any, content: bytes) -> None:
    response = service.client.post(
        "/api/orders", content=content, headers=ada.placing | {"Content-Type": "application/json"}
    )

    assert response.status_code in {400, 422}, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.json()["status"] == response.status_code
    assert "Traceback" not in response.text


def test_a_body_over_the_limit_is_rejected(service: Service, ada: Any) -> None:
    response = service.client.post(
        "/api/orders",
        content=b" " * (1024 * 1024) + VALID,
        headers=ada.placing | {"Content-Type": "application/json"},
    )

    assert response.status_code == 413


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
    response = service.client.request(method, path, headers=ada.headers)

    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/problem+json")


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
def test_every_endpoint_requires_a_valid_token(
    service: Service, method: str, path: str, flaw: str, forged: Any
) -> None:
    headers = {} if flaw == "absent" else {"Authorization": f"Bearer {forged(flaw)}"}

    response = service.client.request(method, path, headers=headers, content=VALID)

    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"].startswith("application/problem+json")


def test_a_token_allows_only_its_scopes(service: Service, forged: Any) -> None:
    headers = {"Authorization": f"Bearer {forged('none', scope='orders:read')}", "Idempotency-Key": "k"}

    assert service.client.get("/api/orders", headers=headers).status_code == 200
    assert service.client.post("/api/orders", headers=headers, content=VALID).status_code == 403


@pytest.mark.parametrize("if_match", ["", "1", '"1', "x" * 2000, "*, *"])
def test_an_invalid_if_match_is_rejected(service: Service, ada: Any, if_match: str) -> None:
    placed = service.client.post("/api/orders", content=VALID, headers=ada.placing)

    response = service.client.patch(
        placed.headers["location"], json={"quantity": 2}, headers=ada.headers | {"If-Match": if_match}
    )

    assert response.status_code == 400, response.text
