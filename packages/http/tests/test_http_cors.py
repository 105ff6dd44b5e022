"""CORS and default security headers."""

from typing import Any

import pytest
from starkeel_testing import Service

SHOP = "https://shop.example.com"


def _preflight(sample: Service, origin: str, path: str = "/items") -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-thing",
    }
    return sample.client.options(path, headers=headers)


@pytest.mark.parametrize("path", ["/items", "/limited", "/user-limited", "/nowhere"])
def test_a_preflight_of_an_allowed_origin_succeeds(sample: Service, path: str) -> None:
    response = _preflight(sample, SHOP, path)

    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == SHOP
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "authorization,x-thing"
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers
    assert "ratelimit" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.com.evil.example",
        "https://shop.example.com:8443",
        "http://shop.example.com",
        "https://SHOP.example.com",
        "null",
        "*",
        "",
    ],
)
def test_other_origins_get_no_cors_headers(sample: Service, origin: str) -> None:
    for response in (
        _preflight(sample, origin),
        sample.client.get("/client", headers={"Origin": origin}),
        sample.client.get("/nowhere", headers={"Origin": origin}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]
        assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize("path", ["/client", "/nowhere", "/boom", "/short", "/unavailable", "/own-headers"])
def test_an_allowed_origin_may_read_responses_and_problems(sample: Service, path: str) -> None:
    response = sample.client.get(path, headers={"Origin": SHOP})

    assert response.headers["access-control-allow-origin"] == SHOP
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-ID", "Retry-After", "RateLimit", "ETag", "Location", "Link"} <= set(exposed)


def test_an_allowed_origin_may_read_a_413(sample: Service) -> None:
    response = sample.client.post("/items", content=b" " * 1_000_001, headers={"Origin": SHOP})

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (413, SHOP)


def test_responses_vary_by_origin(sample: Service) -> None:
    assert sample.client.get("/client").headers["vary"] == "Origin"
    assert sample.client.get("/own-headers").headers["vary"] == "Accept, Origin"


def test_without_origins_there_are_no_cors_headers(run_sample: Any) -> None:
    with run_sample() as service:
        response = _preflight(service, SHOP)
        assert (response.status_code, "access-control-allow-origin" in response.headers) == (204, False)
        assert "vary" not in service.client.get("/client", headers={"Origin": SHOP}).headers


def test_any_origin_is_allowed_in_development(run_sample: Any) -> None:
    with run_sample(CORS_ALLOWED_ORIGINS="*") as service:
        response = service.client.get("/client", headers={"Origin": "https://any.example"})
        assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/client", "/nowhere", "/boom", "/nothing", "/health/live"])
def test_responses_have_security_headers(sample: Service, path: str) -> None:
    headers = sample.client.get(path).headers

    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in headers
    # Of no effect where nothing is rendered.
    is_json = headers.get("content-type") in {"application/json", "application/problem+json"}
    assert headers.get("referrer-policy") == (None if is_json else "no-referrer")
    assert ("permissions-policy" in headers) is not is_json


def test_headers_set_by_a_handler_are_kept(sample: Service) -> None:
    headers = sample.client.get("/own-headers").headers

    assert headers.get_list("cache-control") == ["max-age=5"]
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]


def test_strict_transport_security_is_sent_over_tls_only(sample: Service) -> None:
    secure = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    response = sample.client.get("/client", headers=secure)

    assert response.headers["strict-transport-security"].startswith("max-age=")
    assert response.json() == {"client": "192.0.2.7", "scheme": "https"}
