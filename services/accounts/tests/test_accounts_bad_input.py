"""Invalid, undocumented or too large input results in a problem response, never in a 5xx."""

from typing import Any

import pytest
from starkeel_testing import Service

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"email": "ada@example.com", "password": "a wagon full of clocks"',
        b'{"email": "\xff\xfe@example.com", "password": "a wagon full of clocks"}',
        b'{"email": "\\ud800@example.com", "password": "a wagon full of clocks"}',
        b'{"email": NaN, "password": Infinity}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"null",
        b"[]",
        b'"ada"',
        b'{"email": "ada@example.com"}',
        b'{"email": "ada@example.com", "password": null}',
        b'{"email": "ada@example.com", "password": 12345678}',
        b'{"email": ["ada@example.com"], "password": "a wagon full of clocks"}',
        b'{"email": "ada@example.com", "password": "a wagon full of clocks", "is_admin": true}',
    ],
    ids=lambda content: content[:40].decode("latin-1"),
)
@pytest.mark.parametrize("path", ["/api/users", "/api/auth/token"])
def test_an_invalid_body_is_a_problem(service: Service, path: str, content: bytes) -> None:
    response = service.client.post(path, content=content, headers=JSON)

    assert response.status_code in {400, 422}, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.json()["status"] == response.status_code
    assert "Traceback" not in response.text
    assert "wagon full" not in response.text


def test_an_unknown_field_is_named(service: Service, make: Any, body: Any) -> None:
    response = service.client.post("/api/users", json=body(make.sign_up.build()) | {"is_admin": True})

    assert "is_admin" in response.text


def test_a_body_over_the_limit_is_rejected(service: Service) -> None:
    response = service.client.post(
        "/api/users", content=b'{"email": "' + b"a" * (1024 * 1024) + b'"}', headers=JSON
    )

    assert response.status_code == 413
    assert response.headers["content-type"].startswith("application/problem+json")


def test_a_chunked_body_over_the_limit_is_rejected(service: Service) -> None:
    def chunks() -> Any:
        for _ in range(20):
            yield b"a" * 64 * 1024

    response = service.client.post("/api/users", content=chunks(), headers=JSON)

    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/users/unknown", 404),
        ("PUT", "/api/users", 405),
        ("GET", "/api/auth/token", 405),
        ("BREW", "/api/users", 501),
    ],
)
def test_an_unknown_route_or_method_is_a_problem(
    service: Service, method: str, path: str, status: int
) -> None:
    response = service.client.request(method, path)

    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.headers["x-request-id"]
    if status == 405:
        assert "POST" in response.headers["allow"]


def test_cors_headers_are_sent_to_allowed_origins_only(service: Service) -> None:
    def preflight(origin: str) -> Any:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return service.client.options("/api/users", headers=headers)

    assert "access-control-allow-origin" not in preflight("https://evil.example").headers
    allowed = preflight("https://shop.example.com")
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example.com"
