"""Orders behind a real PgBouncer in transaction mode, which lends a session for one transaction at a time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import OwnPostgres, exits

from .orders_fixture import Shop, told
from .pgbouncer import pgbouncer

pytestmark = pytest.mark.timeout(300)

CLIENTS, EACH, SESSIONS = 16, 8, 2


def test_orders_work_behind_a_pooler(ada: Shop, own_postgres: OwnPostgres, capsys: Any) -> None:
    with (
        pgbouncer(own_postgres.url, size=SESSIONS) as url,
        ada.serving(
            url,
            DB_PGBOUNCER="true",
            MIGRATIONS_DATABASE_URL=own_postgres.url,
            WORKERS="2",
            DB_STATEMENT_TIMEOUT_SECONDS="1",
        ) as service,
    ):

        def shops(_: int) -> list[str]:
            # Each order is sent twice, and looked at between.
            seen = []
            with httpx2.Client(base_url=service.url, timeout=60) as client:
                for _ in range(EACH):
                    key = uuid4().hex
                    placed = ada.place(client, key)
                    assert placed.status_code == 201, placed.text
                    assert ada.look(client).status_code == 200
                    assert ada.place(client, key).json() == placed.json()
                    seen.append(str(placed.json()["id"]))
            return seen

        with ThreadPoolExecutor(CLIENTS) as pool:
            placed = [one for many in pool.map(shops, range(CLIENTS)) for one in many]

        assert sorted(ada.orders(service.client)) == sorted(placed)
        events = asyncio.run(_events(own_postgres.url))
        assert events == len(placed)
        # Nothing of one transaction is found by the next in the same session.
        assert asyncio.run(_left(url)) == ("0", "SELECT 0")
        assert asyncio.run(_while_locked(own_postgres.url, lambda: ada.place(service.client))) == 503
        assert ada.place(service.client).status_code == 201
        told(
            capsys,
            "behind PgBouncer",
            clients=CLIENTS,
            server_sessions=SESSIONS,
            orders=len(placed),
            events=events,
            answers_replayed=len(placed),
        )


def test_a_pooler_that_nobody_told_of_is_named(ada: Shop, own_postgres: OwnPostgres) -> None:
    with pgbouncer(own_postgres.url, size=SESSIONS) as url:
        env = ada.env | {"DATABASE_URL": url, "DB_STARTUP_TIMEOUT_SECONDS": "1"}
        refused = exits("orders", env)
        without = exits("orders", env | {"DB_PGBOUNCER": "true"})
        job = exits("orders", env | {"DB_PGBOUNCER": "true", "RUN_MIGRATIONS": "false"}, "migrate")

    assert refused.code == 69, refused.output
    assert "it is a PgBouncer" in refused.output
    assert "DB_PGBOUNCER=true" in refused.output
    assert without.code == 78, without.output
    assert "MIGRATIONS_DATABASE_URL" in without.output
    assert job.code == 65, job.output
    assert "MIGRATIONS_DATABASE_URL" in job.output


async def _events(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM outbox"))
    finally:
        await connection.close()


async def _left(pooled: str) -> tuple[str, str]:
    """Return what is set, and how much is prepared, in a session as it is lent."""
    connection = await asyncpg.connect(pooled, statement_cache_size=0)
    try:
        async with connection.transaction():
            # By the simple protocol: the other one prepares something to ask with.
            prepared = await connection.execute("SELECT 1 FROM pg_prepared_statements")
            return await connection.fetchval("SHOW statement_timeout"), prepared
    finally:
        await connection.close()


async def _while_locked(direct: str, ask: Any) -> int:
    connection = await asyncpg.connect(direct)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            answer = await asyncio.to_thread(ask)
        return int(answer.status_code)
    finally:
        await connection.close()
