"""Pages of which origins may read answers, and the headers that every answer has."""

from typing import Any

import pytest
from starkeel_testing import Service

SHOP = "https://shop.example.com"


def _preflight(sample: Service, origin: str, path: str = "/items") -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-thing",
    }
    return sample.client.options(path, headers=asked)


@pytest.mark.parametrize("path", ["/items", "/limited", "/mine", "/nowhere"])
def test_a_preflight_of_an_allowed_origin_is_answered(sample: Service, path: str) -> None:
    answer = _preflight(sample, SHOP, path)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,x-thing"
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "ratelimit" not in answer.headers


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
def test_a_foreign_origin_gets_no_leave(sample: Service, origin: str) -> None:
    for answer in (
        _preflight(sample, origin),
        sample.client.get("/who", headers={"Origin": origin}),
        sample.client.get("/nowhere", headers={"Origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("path", ["/who", "/nowhere", "/boom", "/short", "/away", "/own-headers"])
def test_an_allowed_origin_reads_answers_and_problems(sample: Service, path: str) -> None:
    answer = sample.client.get(path, headers={"Origin": SHOP})

    assert answer.headers["access-control-allow-origin"] == SHOP
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-ID", "Retry-After", "RateLimit", "ETag", "Location", "Link"} <= set(exposed)


def test_it_reads_that_a_body_is_too_large(sample: Service) -> None:
    answer = sample.client.post("/items", content=b" " * 1_000_001, headers={"Origin": SHOP})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, SHOP)


def test_answers_differ_by_origin_for_caches_too(sample: Service) -> None:
    assert sample.client.get("/who").headers["vary"] == "Origin"
    assert sample.client.get("/own-headers").headers["vary"] == "Accept, Origin"


def test_without_origins_there_is_nothing_of_it(run_sample: Any) -> None:
    with run_sample() as service:
        answer = _preflight(service, SHOP)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (204, False)
        assert "vary" not in service.client.get("/who", headers={"Origin": SHOP}).headers


def test_every_origin_in_development(run_sample: Any) -> None:
    with run_sample(CORS_ALLOWED_ORIGINS="*") as service:
        answer = service.client.get("/who", headers={"Origin": "https://anybody.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/who", "/nowhere", "/boom", "/nothing", "/health/live"])
def test_answers_make_browsers_careful(sample: Service, path: str) -> None:
    headers = sample.client.get(path).headers

    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "permissions-policy" in headers
    assert "strict-transport-security" not in headers


def test_what_a_handler_sets_stays(sample: Service) -> None:
    headers = sample.client.get("/own-headers").headers

    assert headers.get_list("cache-control") == ["max-age=5"]
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]


def test_only_who_speaks_tls_is_told_to_go_on_so(sample: Service) -> None:
    secure = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    answer = sample.client.get("/who", headers=secure)

    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert answer.json() == {"client": "192.0.2.7", "scheme": "https"}
