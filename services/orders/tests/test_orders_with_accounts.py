"""Orders with the service that it calls: traces, request ids and errors across them."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import OtlpReceiver, Service, running

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Fleet:
    accounts: Service
    orders: Service
    otlp: OtlpReceiver

    def token(self) -> str:
        """Register a new user and return an access token."""
        credentials = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        assert self.accounts.client.post("/api/users", json=credentials).status_code == 201
        answer = self.accounts.client.post("/api/auth/token", json=credentials)
        assert answer.status_code == 200
        return str(answer.json()["access_token"])

    def order(self, token: str, **headers: str) -> httpx2.Response:
        return self.orders.client.post(
            "/api/orders",
            json={"product_type": "anchor", "quantity": 2},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex, **headers},
        )


@pytest.fixture
def fleet(database_urls: tuple[str, str], otlp: OtlpReceiver) -> Iterator[Fleet]:
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running("accounts", {"DATABASE_URL": database_urls[0], **telemetry}) as accounts:
        upstream = {
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "DATABASE_URL": database_urls[1],
        }
        with running("orders", {**upstream, **telemetry}) as orders:
            yield Fleet(accounts, orders, otlp)


def test_one_order_is_one_trace_in_the_logs_and_spans_of_both_services(fleet: Fleet) -> None:
    token = fleet.token()
    before = fleet.orders.metric("orders_created_total", product="anchor")

    answer = fleet.order(token, traceparent=TRACEPARENT, **{"X-Request-ID": "order-1"})

    assert answer.status_code == 201
    assert answer.headers["X-Request-ID"] == "order-1"
    for service, route in ((fleet.orders, "/api/orders"), (fleet.accounts, "/api/users/me")):
        line = service.wait_for_log("request completed", trace_id=TRACE_ID)
        assert (line["route"], line["request_id"]) == (route, "order-1")
    assert fleet.orders.wait_for_log("order created", trace_id=TRACE_ID)["request_id"] == "order-1"
    assert fleet.orders.metric("orders_created_total", product="anchor") == before + 1


def test_the_spans_of_one_order_form_one_tree(fleet: Fleet) -> None:
    token = fleet.token()

    fleet.order(token, traceparent=TRACEPARENT)

    spans = fleet.otlp.wait_for(
        lambda spans: (
            {"POST /api/orders", "GET /api/users/me"} <= {span.name for span in spans}
            and sum(span.name == "GET /api/users/me" for span in spans) >= 2
        ),
        trace_id=TRACE_ID,
    )
    by_id = {span.span_id: span for span in spans}
    served = next(s for s in spans if s.name == "GET /api/users/me" and s.service == "accounts")
    called = by_id[served.parent_span_id]
    assert (called.name, called.service) == ("GET /api/users/me", "orders")
    assert (by_id[called.parent_span_id].name, by_id[called.parent_span_id].service) == (
        "POST /api/orders",
        "orders",
    )


def test_orders_returns_503_and_places_nothing_while_accounts_is_unavailable(fleet: Fleet) -> None:
    token = fleet.token()
    assert fleet.order(token).status_code == 201
    fleet.accounts.terminate()

    answer = fleet.order(token)

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    listed = fleet.orders.client.get("/api/orders", headers={"Authorization": f"Bearer {token}"})
    assert len(listed.json()["items"]) == 1
    assert fleet.orders.client.get("/health/ready").status_code == 200


def test_a_deactivated_user_cannot_order_with_a_token_that_is_still_valid(fleet: Fleet) -> None:
    token = fleet.token()
    me = {"Authorization": f"Bearer {token}"}
    gone = fleet.accounts.client.request("DELETE", "/api/users/me", json={"password": PASSWORD}, headers=me)
    assert gone.status_code == 204

    assert fleet.order(token).status_code == 403
