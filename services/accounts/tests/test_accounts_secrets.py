"""Secrets in every input of accounts appear in none of its output."""

from urllib.parse import urlsplit

from starkeel_auth import generate_private_key_pem
from starkeel_testing import OtlpReceiver, OwnPostgres, running

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


def test_secrets_sent_to_accounts_do_not_leak(otlp: OtlpReceiver, own_postgres: OwnPostgres) -> None:
    secrets = Secrets()
    key = generate_private_key_pem()
    secrets.by_input["signing key"] = key.splitlines()[1]
    secrets.by_input["database password"] = str(urlsplit(own_postgres.url).password)
    environ = {"DATABASE_URL": own_postgres.url, "JWT_PRIVATE_KEY": key, "DB_ACQUIRE_TIMEOUT_SECONDS": "1"}
    with running("accounts", telemetry(otlp, secrets) | environ) as accounts:
        token = sign_up(accounts, secrets)
        responses = list(requests_with_secrets(accounts.client, "/api/users", secrets))
        responses += requests_with_secrets(accounts.client, "/api/auth/token", secrets)
        me = accounts.client.get("/api/users/me", headers={"Authorization": f"Bearer {token}"})
        assert me.status_code == 200
        own_postgres.kill()
        # Database errors contain statements and their parameters.
        body = {"email": "ada@example.com", "password": secrets.make("password in an outage")}
        responses.append(accounts.client.post("/api/users", json=body))
        assert responses[-1].status_code == 503
        accounts.wait_for_log("request completed", status=503)
        otlp.wait_for(lambda spans: any(s.attributes.get("http.response.status_code") == 503 for s in spans))

        assert leaks(secrets, output_of(accounts, otlp)) == {}
        assert echoed(secrets, responses) <= ECHOED
    assert secrets.found_in(accounts.output()) == []
