"""Secrets in every input of orders appear in none of its output, and in none of the service that it calls."""

from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from starkeel_testing import OtlpReceiver, running

from tests.support.secrets import (
    ECHOED,
    Secrets,
    echoed,
    leaks,
    output_of,
    requests_with_secrets,
    sign_up,
    telemetry,
)


def test_secrets_sent_to_orders_do_not_leak(otlp: OtlpReceiver, postgres_url: str, redis_url: str) -> None:
    secrets = Secrets()
    shared = telemetry(otlp, secrets)
    secrets.by_input["database password"] = str(urlsplit(postgres_url).password)
    # A wrong password, so that publishing fails and is retried and logged.
    redis = f"redis://:{secrets.make('redis password')}@{redis_url.rpartition('@')[2]}"
    with running("accounts", shared) as accounts:
        token = sign_up(accounts, secrets)
        keys = f"{accounts.url}/.well-known/jwks.json?token={secrets.make('query of a setting')}"
        environ = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis,
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": keys,
            "OTEL_RESOURCE_ATTRIBUTES": f"api_key={secrets.make('resource attribute')},team=a",
        }
        with running("orders", shared | environ) as orders:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
            order: dict[str, Any] = {"product_type": "anchor", "quantity": 2}
            responses = list(requests_with_secrets(orders.client, "/api/orders", secrets))
            responses += requests_with_secrets(orders.client, "/api/orders/events", secrets)
            responses.append(orders.client.post("/api/orders", json=order, headers=headers))
            assert responses[-1].status_code in {201, 503}
            otlp.wait_for(lambda spans: any(span.service == "orders" for span in spans))

            assert leaks(secrets, output_of(orders, otlp)) == {}
            assert leaks(secrets, output_of(accounts, otlp)) == {}
            assert echoed(secrets, responses) <= ECHOED
        assert secrets.found_in(orders.output()) == []
