"""What a request costs the database, as PostgreSQL counts it."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from starkeel_testing import OwnPostgres, Service, running, wait_until

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

CREDENTIALS = {"email": "ada@example.com", "password": "seven quiet lighthouses"}
TOLD = re.compile(r"^.*orders\|(\d+)\|LOG: +(?:statement|execute [^:]*): *(\S[^\n]*)", re.MULTILINE)


@pytest.fixture
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("accounts") / "accounts.db"
    with running("accounts", {"DATABASE_URL": f"sqlite:///{file}"}) as service:
        assert service.client.post("/api/users", json=CREDENTIALS).status_code == 201
        yield service


def transactions(server: OwnPostgres) -> list[list[str]]:
    """What each transaction of orders consisted of, as far as the server has told."""
    open_ones: dict[str, list[str]] = {}
    done = []
    for backend, told in TOLD.findall(server.output()):
        statement = told.rstrip("; ")
        if statement != "BEGIN" and backend not in open_ones:
            done.append([statement])
            continue
        open_ones.setdefault(backend, []).append(statement)
        if statement in {"COMMIT", "ROLLBACK"}:
            done.append(open_ones.pop(backend))
    return done


def test_an_order_is_three_statements_with_its_event_and_its_key_and_a_look_at_it_one(
    accounts: Service, own_postgres: OwnPostgres
) -> None:
    own_postgres.stop()
    own_postgres.start(log_statement="all", log_line_prefix="%a|%p|", log_error_verbosity="terse")
    token = accounts.client.post("/api/auth/token", json=CREDENTIALS).json()["access_token"]
    env = {
        "ACCOUNTS_URL": accounts.url,
        "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
        "DATABASE_URL": own_postgres.url,
    }
    with running("orders", env) as service:
        for _ in range(3):
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
            body = {"product_type": "anchor", "quantity": 1}
            placed = service.client.post("/api/orders", json=body, headers=headers)
            assert placed.status_code == 201
            assert service.client.get(placed.headers["location"], headers=headers).status_code == 200

        def with_(text: str) -> list[list[str]]:
            return [one for one in transactions(own_postgres) if any(text in each for each in one)]

        wait_until(lambda: len(with_("SELECT orders.")) == 3, timeout_s=30, what=own_postgres.output)
        assert [len(one) for one in with_("SELECT orders.")] == [1, 1, 1]
        # The mode is set on one connection, which all reads use.
        assert len(with_("default_transaction_read_only")) == 1
        assert len(with_("INTO orders")) == 3
        for begin, claim, order, rest, commit in with_("INTO orders"):
            assert (begin, commit) == ("BEGIN", "COMMIT")
            assert claim.startswith("SELECT pg_try_advisory_xact_lock"), claim
            assert order.startswith("INSERT INTO orders"), order
            assert "INTO outbox" in rest, rest
            assert "INTO idempotency_keys" in rest, rest
