"""Admin endpoints of a running orders."""

from pathlib import Path
from typing import Any

import httpx2
import orders
from starkeel_testing import Service, running, wait_until

from .conftest import ISSUER

MIGRATIONS = sorted(path.stem for path in (Path(orders.__file__).parent / "migrations").glob("0*.py"))


def environ(database_url: str) -> dict[str, str]:
    urls = {"JWT_JWKS_URL": "http://127.0.0.1:9/", "ACCOUNTS_URL": "http://127.0.0.1:9"}
    return {"DATABASE_URL": database_url} | ISSUER | urls


def page(service: Service, path: str) -> Any:
    response = httpx2.get(service.admin_url + path, timeout=30, trust_env=False)
    return response.json() if response.status_code == 200 else None


def test_migrations_reports_the_revision_of_the_database(database_url: str) -> None:
    with running("orders", environ(database_url), until="started") as service:
        migrations = wait_until(lambda: page(service, "/migrations"), timeout_s=30)

    assert migrations == {
        "current": MIGRATIONS[-1],
        "newest": MIGRATIONS[-1],
        "pending": [],
        "is_newer_than_code": False,
    }


def test_migrations_reports_pending_revisions(database_url: str) -> None:
    with running("orders", environ(database_url) | {"RUN_MIGRATIONS": "false"}, until="started") as service:
        migrations = wait_until(lambda: page(service, "/migrations"), timeout_s=30)

    assert migrations == {
        "current": None,
        "newest": MIGRATIONS[-1],
        "pending": MIGRATIONS,
        "is_newer_than_code": False,
    }


def test_routes_have_the_same_templates_as_metrics(database_url: str) -> None:
    with running("orders", environ(database_url), until="started") as service:
        routes = wait_until(lambda: page(service, "/routes"), timeout_s=30)["routes"]
        service.client.get("/api/orders/3f0c51c6-5f9f-4b9e-a3c5-0e7b6f3ea001")
        wait_until(lambda: service.metric("http_requests_total", path="/api/orders/{order_id}") == 1)
        counted = {s.labels["path"] for s in service.metrics() if s.name == "http_requests_total"}

    templates = {route["path"] for route in routes}
    assert "/api/orders/{order_id}" in templates
    assert {path for path in counted if path != "__unmatched__"} <= templates
