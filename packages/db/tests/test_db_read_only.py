"""Read-only routes and sessions: no transaction on PostgreSQL, and the database refuses writes."""

import asyncio
import time
from typing import Any

import pytest
from litestar import Request, get, post
from litestar.di import NamedDependency
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabaseUnavailable, ReadOnlySessionError, read_only
from starkeel_db._driver import transactions
from starkeel_db._engine.database import WritableCheck

from .conftest import Book, Open, until

INSERT = text("INSERT INTO books (title) VALUES ('momo')")
PID = text("SELECT pg_backend_pid()")
SWITCHING = text(
    "SELECT 1 FROM pg_stat_activity WHERE pid = :pid AND state = 'active' AND query LIKE 'SELECT pg_sleep%'"
)
MODE = text("SHOW default_transaction_read_only")


async def count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(Book)) or 0


@get("/", opt=read_only())
async def read(session: NamedDependency[AsyncSession]) -> int:
    return await count(session)


@post("/")
async def write(session: NamedDependency[AsyncSession]) -> None:
    session.add(Book(title="momo"))


async def test_a_write_in_a_read_only_route_is_an_error(
    library: Open, database_url: str, logged: list[Any]
) -> None:
    raised: list[Exception] = []

    @get("/writes", opt=read_only())
    async def writes(session: NamedDependency[AsyncSession]) -> None:
        try:
            await session.execute(INSERT)
        except ReadOnlySessionError as error:
            raised.append(error)
            raise

    @get("/adds", opt=read_only())
    async def adds(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))

    # One connection, so that every request switches its mode.
    async with library(database_url, [read, write, writes, adds], max_connections=1) as opened:
        assert (await opened.client.get("/writes")).status_code == 500
        assert (await opened.client.get("/adds")).status_code == 500
        assert (await opened.client.get("/")).json() == 0
        assert (await opened.client.post("/")).status_code == 201
        assert (await opened.client.get("/")).json() == 1
    assert "opt=read_only()" in str(raised[0])
    assert not [entry for entry in logged if entry["event"] == "database unavailable"]


async def test_a_read_only_session_refuses_writes(library: Open, database_url: str) -> None:
    async with library(database_url, []) as opened:
        with pytest.raises(ReadOnlySessionError, match="reads_only=True"):
            async with opened.database.session(reads_only=True) as session:
                await session.execute(INSERT)
        async with opened.database.session() as session:
            await session.execute(INSERT)


@pytest.mark.parametrize(
    "statement", ["SELECT id FROM books FOR UPDATE", "SELECT nextval('books_id_seq')", "DELETE FROM books"]
)
async def test_row_locks_and_functions_that_write_are_refused(
    library: Open, postgres_url: str, statement: str
) -> None:
    async with library(postgres_url, []) as opened, opened.database.session(reads_only=True) as session:
        with pytest.raises(ReadOnlySessionError):
            await session.execute(text(statement))
        # The error concerns its statement only.
        assert await count(session) == 0


async def test_each_statement_is_a_transaction_of_its_own(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, []) as opened, opened.database.session(reads_only=True) as session:
        assert len({await session.scalar(text("SELECT now()")) for _ in range(2)}) == 2
        with pytest.raises(DBAPIError):
            await session.stream(select(Book))
        with pytest.raises(DBAPIError, match="SAVEPOINT"):
            await _count_in_savepoint(session)


async def _count_in_savepoint(session: AsyncSession) -> None:
    async with session.begin_nested():
        await count(session)


async def test_a_read_only_session_can_have_one_snapshot(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, []) as opened, opened.database.session(reads_only=True) as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        assert await count(session) == 0
        async with opened.database.session() as other:
            await other.execute(INSERT)
        assert await count(session) == 0
        assert [row async for row in await session.stream(select(Book))] == []
        with pytest.raises(ReadOnlySessionError):
            await session.execute(INSERT)
        await session.rollback()
        assert await count(session) == 1


async def test_connections_keep_their_mode(library: Open, postgres_url: str) -> None:
    """Reads and writes in turn use two connections, so that neither is switched every time."""
    pids: dict[bool, set[int | None]] = {True: set(), False: set()}
    limits = {"min_connections": 2, "max_connections": 2}
    async with library(postgres_url, [], **limits) as opened:
        pool = opened.database._opened().engine.pool
        await until(lambda: pool.open == 2)
        for _ in range(5):
            for is_read_only in (True, False):
                async with opened.database.session(reads_only=is_read_only) as session:
                    pids[is_read_only].add(await session.scalar(PID))
                    assert await session.scalar(MODE) == ("on" if is_read_only else "off")
    assert len(pids[True]) == len(pids[False]) == 1
    assert pids[True] != pids[False]


async def test_a_read_only_connection_is_not_reported_as_a_read_only_server(
    library: Open, postgres_url: str
) -> None:
    async with library(postgres_url, [read], max_connections=1) as opened:
        await opened.client.get("/")
        await opened.app.plugins.get(WritableCheck).check_ready()


async def test_a_connection_that_cannot_be_switched_is_a_503(
    library: Open, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = transactions._SWITCH[database_url.partition(":")[0]]
    async with library(database_url, [read], max_connections=1) as opened:
        with monkeypatch.context() as patch:
            patch.setitem(statements, True, "SELECT nothing")
            assert (await opened.client.get("/")).status_code == 503
            with pytest.raises(DatabaseUnavailable):
                async with opened.database.session(reads_only=True) as session:
                    await count(session)
        assert (await opened.client.get("/")).json() == 0


async def test_a_cancelled_switch_drops_its_connection(
    library: Open, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"max_connections": 1, "acquire_timeout_s": 5.0}
    async with library(postgres_url, [read], **limits) as opened:
        pool = opened.database._opened().engine.pool
        [driver] = pool.idle_drivers()
        with monkeypatch.context() as patch:
            patch.setitem(transactions._SWITCH["postgresql"], True, "SELECT pg_sleep(3600)")
            request = asyncio.create_task(opened.client.get("/"))
            async with (
                asyncio.timeout(30),
                opened.database._unpooled() as engine,
                engine.connect() as watcher,
            ):
                while not await watcher.scalar(SWITCHING, {"pid": driver.get_server_pid()}):
                    await watcher.rollback()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
        assert driver.is_closed()
        assert (await opened.client.get("/")).json() == 0


async def test_a_read_only_statement_ends_with_its_request(library: Open, postgres_url: str) -> None:
    async def set_deadline(request: Request[Any, Any, Any]) -> None:
        request.scope["state"]["deadline"] = time.monotonic() + 2.0

    @get("/", opt=read_only(), before_request=set_deadline)
    async def handler(session: NamedDependency[AsyncSession]) -> list[int | str]:
        limit = await session.scalar(text("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'"))
        with pytest.raises(ReadOnlySessionError):
            await session.execute(INSERT)
        await session.rollback()
        return [int(limit or 0)]

    @get("/plain", opt=read_only())
    async def plain(session: NamedDependency[AsyncSession]) -> str:
        return str(await session.scalar(text("SHOW statement_timeout")))

    async with library(postgres_url, [handler, plain], max_connections=1) as opened:
        (limit,) = (await opened.client.get("/")).json()
        assert 1500 < limit <= 2000
        assert (await opened.client.get("/plain")).text == "10s"


async def test_a_cancelled_read_releases_its_connection(library: Open, postgres_url: str) -> None:
    @get("/sleep", opt=read_only())
    async def sleep(session: NamedDependency[AsyncSession]) -> None:
        current = asyncio.current_task()
        assert current is not None
        asyncio.get_running_loop().call_later(0.1, current.cancel)
        await session.execute(text("SELECT pg_sleep(3600)"))

    async with library(postgres_url, [read, sleep, write], max_connections=1, acquire_timeout_s=2) as opened:
        request = asyncio.create_task(opened.client.get("/sleep"))
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (await opened.client.post("/")).status_code == 201
        assert (await opened.client.get("/")).json() == 1


async def test_behind_a_pooler_the_transaction_is_read_only(library: Open, postgres_url: str) -> None:
    limits = {"pgbouncer": True, "run_migrations": False, "max_connections": 1}
    async with library(postgres_url, [read, write], **limits) as opened:
        async with opened.database.session(reads_only=True) as session:
            # A session setting would belong to all clients of the pooler.
            assert await session.scalar(MODE) == "off"
            with pytest.raises(ReadOnlySessionError):
                await session.execute(INSERT)
            await session.rollback()
        assert (await opened.client.post("/")).status_code == 201
        assert (await opened.client.get("/")).json() == 1
