"""Statements per request, read from PostgreSQL's log."""

import re

import pytest
from starkeel_testing import OwnPostgres, wait_until

from ...support.orders import Customer

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

LOGGED = re.compile(r"^.*orders\|(\d+)\|LOG: +(?:statement|execute [^:]*): *(\S[^\n]*)", re.MULTILINE)


def transactions(server: OwnPostgres) -> list[list[str]]:
    """Return the statements of each finished transaction of orders."""
    running: dict[str, list[str]] = {}
    done = []
    for backend, logged in LOGGED.findall(server.output()):
        statement = logged.rstrip("; ")
        if statement != "BEGIN" and backend not in running:
            done.append([statement])
            continue
        running.setdefault(backend, []).append(statement)
        if statement in {"COMMIT", "ROLLBACK"}:
            done.append(running.pop(backend))
    return done


def test_an_order_with_event_and_key_takes_three_statements_and_a_read_one(
    customer: Customer, own_postgres: OwnPostgres
) -> None:
    own_postgres.stop()
    own_postgres.start(log_statement="all", log_line_prefix="%a|%p|", log_error_verbosity="terse")
    # A process that executes jobs reads the queue between the requests.
    with customer.running_orders(own_postgres.url, RUN_WORKER="false") as service:
        for _ in range(3):
            placed = customer.place(service.client)
            assert placed.status_code == 201
            location = placed.headers["location"]
            assert service.client.get(location, headers=customer.headers).status_code == 200

        def with_(text: str) -> list[list[str]]:
            return [
                statements
                for statements in transactions(own_postgres)
                if any(text in statement for statement in statements)
            ]

        wait_until(lambda: len(with_("SELECT orders.")) == 3, timeout_s=30, what=own_postgres.output)
        assert [len(statements) for statements in with_("SELECT orders.")] == [1, 1, 1]
        # The mode is set on one connection, which all reads use.
        assert len(with_("default_transaction_read_only")) == 1
        assert len(with_("INTO orders")) == 3
        for begin, claim, order, rest, commit in with_("INTO orders"):
            assert (begin, commit) == ("BEGIN", "COMMIT")
            assert claim.startswith("SELECT pg_try_advisory_xact_lock"), claim
            assert order.startswith("INSERT INTO orders"), order
            assert "INTO outbox" in rest, rest
            assert "INTO idempotency_keys" in rest, rest
