"""Units of work whose statements were prepared before another transaction changed the schema."""

import time
from typing import Any

import pytest
from litestar import get, post
from litestar.di import NamedDependency
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import read_only, repeat_conflicts
from starkeel_db._session.unit_of_work import RequestSession

from .conftest import Book, Library, Open

CHANGES = [f"ALTER TABLE books ALTER COLUMN title TYPE varchar({size})" for size in range(50, 60)]


async def _change(opened: Library, statement: str) -> None:
    async with opened.database.session() as session:
        await session.execute(text(statement))


async def _read(session: AsyncSession) -> int:
    return len((await session.scalars(select(Book).order_by(Book.id))).all())


@get("/autocommit", opt=read_only())
async def autocommit(session: NamedDependency[AsyncSession]) -> int:
    await session.scalar(select(Book.id))
    return await _read(session)


@get("/transaction")
async def transaction(session: NamedDependency[AsyncSession]) -> int:
    await session.scalar(select(Book.id).limit(1))
    return await _read(session)


@get("/snapshot")
async def snapshot(session: NamedDependency[AsyncSession]) -> int:
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    await session.scalar(select(Book.id).limit(1))
    return await _read(session)


@post("/first", status_code=200)
async def first(session: NamedDependency[AsyncSession]) -> int:
    found = await _read(session)
    session.add(Book(title="momo"))
    return found


@post("/lock", status_code=200)
async def lock(session: NamedDependency[AsyncSession]) -> int:
    await session.execute(text("SELECT pg_advisory_xact_lock(7)"))
    return await _read(session)


@post("/late", status_code=200)
async def late(session: NamedDependency[AsyncSession]) -> int:
    session.add(Book(title="momo"))
    await session.flush()
    return await _read(session)


@post("/repeated", status_code=200, opt=repeat_conflicts())
async def repeated(session: NamedDependency[AsyncSession]) -> int:
    session.add(Book(title="momo"))
    await session.flush()
    return await _read(session)


HANDLERS = [autocommit, transaction, snapshot, first, lock, late, repeated]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/autocommit", 200),
        ("GET", "/transaction", 200),
        ("GET", "/snapshot", 503),
        ("POST", "/first", 200),
        # What was locked or written before is lost with the transaction.
        ("POST", "/lock", 503),
        ("POST", "/late", 503),
        ("POST", "/repeated", 200),
    ],
)
async def test_a_unit_of_work_is_healed_where_nothing_is_lost(
    library: Open, postgres_url: str, method: str, path: str, status: int, logged: list[Any]
) -> None:
    async with library(postgres_url, HANDLERS, max_connections=1) as opened:
        for _ in range(3):
            assert (await opened.client.request(method, path)).status_code == 200
        before = int((await opened.client.get("/autocommit")).text)
        await _change(opened, CHANGES[0])

        response = await opened.client.request(method, path)

        assert response.status_code == status
        assert status == 200 or int(response.headers["retry-after"]) > 0
        written = status == 200 and method == "POST" and path != "/lock"
        assert int((await opened.client.get("/autocommit")).text) == before + written
        # At the latest the next one succeeds.
        assert (await opened.client.request(method, path)).status_code == 200
    assert [entry["reason"] for entry in logged if entry["event"] == "prepared statements invalidated"]
    assert not [entry for entry in logged if entry["log_level"] in {"warning", "error"}]


async def test_a_healed_transaction_keeps_the_deadline(library: Open, postgres_url: str) -> None:
    """The timeout is a setting of the transaction, which a rollback removes."""
    async with library(postgres_url, [], max_connections=1, statement_timeout_s=60.0) as opened:
        for change in CHANGES[:3]:
            async with opened.database.session() as session:
                assert isinstance(session.sync_session, RequestSession)
                session.sync_session.state = {"deadline": time.monotonic() + 5}
                await session.scalar(select(Book))
                found = str(await session.scalar(text("SHOW statement_timeout")))
            assert found.endswith("ms")
            assert 0 < int(found.removesuffix("ms")) <= 5000
            await _change(opened, change)


async def test_a_type_that_was_created_again_is_found(library: Open, postgres_url: str) -> None:
    @get("/", opt=read_only())
    async def colour(session: NamedDependency[AsyncSession]) -> str:
        return str(await session.scalar(text("SELECT colour FROM paints")))

    create = "CREATE TYPE colour AS ENUM ('red', 'blue')"
    async with library(postgres_url, [colour], max_connections=1) as opened:
        await _change(opened, create)
        await _change(opened, "CREATE TABLE paints (colour colour)")
        await _change(opened, "INSERT INTO paints VALUES ('red')")
        assert (await opened.client.get("/")).text == "red"
        for statement in (
            "ALTER TABLE paints ALTER COLUMN colour TYPE text",
            "DROP TYPE colour",
            create,
            "ALTER TABLE paints ALTER COLUMN colour TYPE colour USING colour::colour",
        ):
            await _change(opened, statement)
            assert (await opened.client.get("/")).text == "red"


async def test_statements_that_the_server_has_forgotten_are_prepared_again(
    library: Open, postgres_url: str
) -> None:
    async with library(postgres_url, [autocommit], max_connections=1) as opened:
        assert (await opened.client.get("/autocommit")).status_code == 200
        await _change(opened, "DEALLOCATE ALL")
        assert (await opened.client.get("/autocommit")).status_code == 200
