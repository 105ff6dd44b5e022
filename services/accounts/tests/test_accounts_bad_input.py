"""What cannot be read, is not described or is too large: a problem each, never a 5xx."""

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
def test_a_body_that_is_not_as_described_is_a_problem(service: Service, path: str, content: bytes) -> None:
    answer = service.client.post(path, content=content, headers=JSON)

    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["status"] == answer.status_code
    assert "Traceback" not in answer.text
    assert "wagon full" not in answer.text


def test_an_unknown_field_is_named(service: Service, make: Any, body: Any) -> None:
    answer = service.client.post("/api/users", json=body(make.sign_up.build()) | {"is_admin": True})

    assert "is_admin" in answer.text


def test_a_body_over_the_limit_is_refused(service: Service) -> None:
    answer = service.client.post(
        "/api/users", content=b'{"email": "' + b"a" * (1024 * 1024) + b'"}', headers=JSON
    )

    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_chunked_body_over_the_limit_is_refused(service: Service) -> None:
    def chunks() -> Any:
        for _ in range(20):
            yield b"a" * 64 * 1024

    answer = service.client.post("/api/users", content=chunks(), headers=JSON)

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/users/somebody", 404),
        ("PUT", "/api/users", 405),
        ("GET", "/api/auth/token", 405),
        ("BREW", "/api/users", 405),
    ],
)
def test_an_unknown_route_or_method_is_a_problem(
    service: Service, method: str, path: str, status: int
) -> None:
    answer = service.client.request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["x-request-id"]
    if status == 405:
        assert "POST" in answer.headers["allow"]


def test_a_foreign_origin_gets_no_leave_and_an_allowed_one_its_own(service: Service) -> None:
    def preflight(origin: str) -> Any:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return service.client.options("/api/users", headers=asked)

    assert "access-control-allow-origin" not in preflight("https://evil.example").headers
    allowed = preflight("https://shop.example.com")
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example.com"
