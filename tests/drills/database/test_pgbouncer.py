"""Orders behind PgBouncer in transaction mode."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import OwnPostgres, exits

from ...support.orders import Customer
from ...support.postgres import value
from ...support.report import report
from .pgbouncer import pgbouncer

pytestmark = pytest.mark.timeout(300)

CLIENTS, ORDERS_PER_CLIENT, SESSIONS = 16, 8, 2


def test_orders_works_behind_pgbouncer(customer: Customer, own_postgres: OwnPostgres, capsys: Any) -> None:
    with (
        pgbouncer(own_postgres.url, size=SESSIONS) as url,
        customer.running_orders(
            url,
            DB_PGBOUNCER="true",
            MIGRATIONS_DATABASE_URL=own_postgres.url,
            WORKERS="2",
            DB_STATEMENT_TIMEOUT_SECONDS="1",
        ) as service,
    ):

        def place_orders(_: int) -> list[str]:
            # Each order is sent twice, with a read in between.
            placed_ids = []
            with httpx2.Client(base_url=service.url, timeout=60) as client:
                for _ in range(ORDERS_PER_CLIENT):
                    key = uuid4().hex
                    placed = customer.place(client, key)
                    assert placed.status_code == 201, placed.text
                    assert customer.latest(client).status_code == 200
                    assert customer.place(client, key).json() == placed.json()
                    placed_ids.append(str(placed.json()["id"]))
            return placed_ids

        with ThreadPoolExecutor(CLIENTS) as pool:
            placed = [order for orders in pool.map(place_orders, range(CLIENTS)) for order in orders]

        assert sorted(customer.order_ids(service.client)) == sorted(placed)
        events = value(own_postgres.url, "SELECT count(*) FROM outbox")
        assert events == len(placed)
        # A transaction leaves nothing in its session.
        assert asyncio.run(_session_state(url)) == ("0", "SELECT 0")
        assert (
            asyncio.run(_status_while_locked(own_postgres.url, lambda: customer.place(service.client))) == 503
        )
        assert customer.place(service.client).status_code == 201
        report(
            capsys,
            "behind PgBouncer",
            clients=CLIENTS,
            server_sessions=SESSIONS,
            orders=len(placed),
            events=events,
            responses_replayed=len(placed),
        )


def test_an_undeclared_pgbouncer_is_reported(customer: Customer, own_postgres: OwnPostgres) -> None:
    with pgbouncer(own_postgres.url, size=SESSIONS) as url:
        env = customer.env | {"DATABASE_URL": url, "DB_STARTUP_TIMEOUT_SECONDS": "1"}
        undeclared = exits("orders", env)
        without_url = exits("orders", env | {"DB_PGBOUNCER": "true"})
        job = exits("orders", env | {"DB_PGBOUNCER": "true", "RUN_MIGRATIONS": "false"}, "migrate")

    assert undeclared.code == 69, undeclared.output
    assert "it is a PgBouncer" in undeclared.output
    assert "DB_PGBOUNCER=true" in undeclared.output
    assert without_url.code == 78, without_url.output
    assert "MIGRATIONS_DATABASE_URL" in without_url.output
    assert job.code == 65, job.output
    assert "MIGRATIONS_DATABASE_URL" in job.output


async def _session_state(pooled: str) -> tuple[str, str]:
    """Return the statement timeout and the prepared statements of a session."""
    connection = await asyncpg.connect(pooled, statement_cache_size=0)
    try:
        async with connection.transaction():
            # The simple protocol, as the extended protocol itself prepares a statement.
            prepared = await connection.execute("SELECT 1 FROM pg_prepared_statements")
            return await connection.fetchval("SHOW statement_timeout"), prepared
    finally:
        await connection.close()


async def _status_while_locked(direct: str, send: Any) -> int:
    connection = await asyncpg.connect(direct)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            response = await asyncio.to_thread(send)
        return int(response.status_code)
    finally:
        await connection.close()
