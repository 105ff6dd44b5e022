"""The pool, observed through `pg_stat_activity`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from litestar import get
from litestar.connection import Request
from litestar.di import NamedDependency
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabasePlugin, DatabaseUnavailable

from .conftest import Open

NAME = "library"


@asynccontextmanager
async def watching(url: str) -> AsyncGenerator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def backends(watcher: Any) -> set[int]:
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()"
    return {row["pid"] for row in await watcher.fetch(query, NAME)}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)


async def hold(stack: AsyncExitStack, database: DatabasePlugin, count: int) -> list[Any]:
    """Check out connections until the end of the stack; return those of the driver."""
    drivers = []
    for _ in range(count):
        session = await stack.enter_async_context(database.session())
        await session.execute(text("SELECT 1"))
        raw = await (await session.connection()).get_raw_connection()
        drivers.append(raw.driver_connection)
    return drivers


async def test_the_pool_grows_to_its_maximum_size(library: Open, postgres_url: str) -> None:
    limits = {"max_connections": 4, "acquire_timeout_s": 1.0}
    async with library(postgres_url, [], **limits) as opened, watching(postgres_url) as watcher:
        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 4)
            assert len(await backends(watcher)) == 4
            with pytest.raises(DatabaseUnavailable):
                await hold(stack, opened.database, 1)
            assert len(await backends(watcher)) == 4
        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 4)


@pytest.mark.parametrize(("index", "share"), [(0, 3), (1, 2), (2, 2)])
async def test_a_worker_has_its_share(postgres_url: str, library: Open, index: int, share: int) -> None:
    opening = library(postgres_url, [], _process=(index, 3), max_connections=7, acquire_timeout_s=1.0)
    async with opening as opened, AsyncExitStack() as stack:
        await hold(stack, opened.database, share)
        with pytest.raises(DatabaseUnavailable):
            await hold(stack, opened.database, 1)


async def test_an_exhausted_pool_is_a_503_with_retry_after(library: Open, database_url: str) -> None:
    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> str:
        return str(await session.scalar(text("SELECT 1")))

    limits = {"max_connections": 1, "acquire_timeout_s": 1.0}
    async with library(database_url, [handler], **limits) as opened, opened.database.session() as session:
        await session.execute(text("SELECT 1"))
        response = await opened.client.get("/")

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_the_minimum_is_opened_and_idle_connections_above_it_are_closed(
    library: Open, postgres_url: str
) -> None:
    limits = {"min_connections": 2, "max_connections": 6, "idle_timeout_s": 1.0}
    async with library(postgres_url, [], **limits) as opened, watching(postgres_url) as watcher:

        async def is_minimum() -> bool:
            return len(await backends(watcher)) == 2

        await until(is_minimum)
        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 6)
            assert len(await backends(watcher)) == 6
        await until(is_minimum)


async def test_connections_are_replaced_after_their_lifetime(library: Open, postgres_url: str) -> None:
    limits = {"min_connections": 2, "max_connections": 2, "max_lifetime_s": 1.0}
    async with library(postgres_url, [], **limits) as opened, watching(postgres_url) as watcher:
        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 2)
            first = await backends(watcher)

        async def all_are_new() -> bool:
            now = await backends(watcher)
            return len(now) == 2 and not now & first

        await until(all_are_new)
        assert not await backends(watcher) & first


async def test_connections_closed_by_the_server_are_replaced_at_checkout(
    library: Open, postgres_url: str
) -> None:
    async with library(postgres_url, [], max_connections=3) as opened, watching(postgres_url) as watcher:
        async with AsyncExitStack() as stack:
            drivers = await hold(stack, opened.database, 3)
        for pid in await backends(watcher):
            await watcher.execute("SELECT pg_terminate_backend($1)", pid)

        async def are_gone() -> bool:
            return all(driver.is_closed() for driver in drivers)

        await until(are_gone)
        async with AsyncExitStack() as stack:
            assert not set(drivers) & set(await hold(stack, opened.database, 3))


async def test_a_connection_lost_in_a_request_is_a_503_and_the_next_request_works(
    library: Open, postgres_url: str
) -> None:
    @get("/killed")
    async def killed(session: NamedDependency[AsyncSession]) -> None:
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        async with watching(postgres_url) as watcher:
            await watcher.execute("SELECT pg_terminate_backend($1)", pid)
        await session.scalar(text("SELECT 42"))

    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> str:
        return str(await session.scalar(text("SELECT 42")))

    async with library(postgres_url, [killed, handler], max_connections=1) as opened:
        cut = await opened.client.get("/killed")
        assert cut.status_code == 503
        assert "retry-after" in cut.headers
        assert (await opened.client.get("/")).text == "42"


async def test_an_unreachable_database_is_a_503(
    library: Open, postgres_url: str, free_port: int, logged: list[Any]
) -> None:
    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> str:
        return str(await session.scalar(text("SELECT 1")))

    url = f"postgresql://starkeel:hunter2@127.0.0.1:{free_port}/away"
    async with library(url, [handler], _without_tables=True) as opened:
        response = await opened.client.get("/")

        assert response.status_code == 503
        assert "retry-after" in response.headers
        with pytest.raises(DatabaseUnavailable):
            await opened.database.check_ready()
    assert "127.0.0.1" not in response.text
    assert any(entry["event"] == "database unavailable" for entry in logged)
    assert "hunter2" not in str(logged)


async def _settings(session: AsyncSession) -> dict[str, str]:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "application_name")
    return {name: str(await session.scalar(text(f"SHOW {name}"))) for name in names}


async def test_the_server_enforces_the_limits(library: Open, postgres_url: str) -> None:
    async with (
        library(postgres_url, [], statement_timeout_s=3) as opened,
        opened.database.session() as session,
    ):
        assert await _settings(session) == {
            "statement_timeout": "3s",
            "idle_in_transaction_session_timeout": "1min",
            "application_name": NAME,
        }


def _deadline(left_s: float) -> Any:
    async def before(request: Request[Any, Any, Any]) -> None:
        request.scope["state"]["deadline"] = time.monotonic() + left_s

    return before


async def test_the_statement_timeout_is_shortened_to_the_deadline_of_the_request(
    library: Open, postgres_url: str
) -> None:
    @get("/", before_request=_deadline(2.0))
    async def handler(session: NamedDependency[AsyncSession]) -> list[int]:
        limit = text("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")
        first = int(await session.scalar(limit) or 0)
        await session.execute(text("SELECT pg_sleep(0.5)"))
        return [first, int(await session.scalar(limit) or 0)]

    @get("/plain")
    async def plain(session: NamedDependency[AsyncSession]) -> str:
        return str(await session.scalar(text("SHOW statement_timeout")))

    async with library(postgres_url, [handler, plain], max_connections=1) as opened:
        first, second = (await opened.client.get("/")).json()
        after = (await opened.client.get("/plain")).text

    assert 1500 < first <= 2000
    assert second <= 1500
    assert after == "10s"


async def test_the_deadline_of_a_request_does_not_stay_on_its_connection(
    library: Open, postgres_url: str
) -> None:
    @get("/", before_request=_deadline(10.0))
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        await session.scalar(text("SELECT 1"))

    async with library(postgres_url, [handler], max_connections=1) as opened:
        await opened.client.get("/")
        database = opened.database._database
        assert database is not None
        async with database.reading.connect() as connection:
            # Like a readiness check, on the connection of the request.
            await connection.execute(text("SELECT pg_sleep(0.5)"))
            assert await connection.scalar(text("SHOW statement_timeout")) == "10s"


async def test_a_statement_timeout_is_a_503(library: Open, postgres_url: str) -> None:
    @get("/", before_request=_deadline(0.3))
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        await session.execute(text("SELECT pg_sleep(60)"))

    async with library(postgres_url, [handler]) as opened:
        assert (await opened.client.get("/")).status_code == 503


async def test_closing_is_logged(library: Open, database_url: str, logged: list[Any]) -> None:
    async with library(database_url, []):
        pass

    assert [entry for entry in logged if entry["event"] == "closing database connections"] == [
        {"event": "closing database connections", "log_level": "info"}
    ]


async def test_all_connections_are_closed_at_the_end(library: Open, postgres_url: str) -> None:
    async with watching(postgres_url) as watcher:
        async with library(postgres_url, [], min_connections=3) as opened, AsyncExitStack() as stack:
            await hold(stack, opened.database, 4)
            assert len(await backends(watcher)) >= 4

        async def none_left() -> bool:
            return not await backends(watcher)

        await until(none_left)


async def test_a_busy_pool_is_ready(library: Open, database_url: str) -> None:
    limits = {"max_connections": 1, "acquire_timeout_s": 1.0}
    async with library(database_url, [], **limits) as opened:
        database = opened.database
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
            assert await _waiting_after_a_check(database) == 0


async def _waiting_after_a_check(database: DatabasePlugin) -> int:
    """Return the number of waiting checkouts after a check, which raises if it fails."""
    # Not `check_ready`: the library has no migrations.
    opened = database._opened()
    await opened.check()
    waiting: int = opened.engine.pool.waiting
    return waiting
