"""A request that only reads needs no transaction; one that does more has it from there on."""

from typing import Any

import pytest
from litestar import get, post
from litestar.di import NamedDependency
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db._driver.autocommit_reads import is_plain_read

from .conftest import Book, Open


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT books.id, books.title FROM books WHERE books.id = $1::INTEGER",
        "SELECT count(*) AS count_1 FROM books WHERE books.id IN ($1, $2) AND (books.title = $3)",
        "SELECT CAST(books.title AS VARCHAR(64)), max(books.id) OVER (ORDER BY books.id) FROM books",
        "select coalesce(a, b) from (select 1 as a, 2 as b) as c",
    ],
)
def test_what_only_reads_is_plain(statement: str) -> None:
    assert is_plain_read(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO books (title) VALUES ($1)",
        "WITH gone AS (DELETE FROM books RETURNING id) SELECT id FROM gone",
        "SELECT id FROM books FOR UPDATE",
        "SELECT id FROM books FOR NO KEY UPDATE SKIP LOCKED",
        "SELECT id INTO others FROM books",
        "SELECT nextval('books_id_seq')",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT count(*), Pg_Try_Advisory_Xact_Lock (1) FROM books",
        'SELECT "odd name"(1)',
        "SELECT pg_catalog.nextval('books_id_seq')",
        "SELECT shop . count(1)",
        "SELECT 1; DELETE FROM books",
        "SAVEPOINT sa_savepoint_1",
        "",
    ],
)
def test_what_may_do_more_is_not(statement: str) -> None:
    assert not is_plain_read(statement)


async def test_a_get_that_writes_and_fails_writes_nothing(library: Open, postgres_url: str) -> None:
    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        assert await session.scalar(select(func.count()).select_from(Book)) == 0
        session.add(Book(title="momo"))
        await session.flush()
        assert await session.scalar(select(func.count()).select_from(Book)) == 1
        raise ZeroDivisionError

    @get("/locks")
    async def locks(session: NamedDependency[AsyncSession]) -> int:
        # A lock of the transaction is held by the statements that follow.
        await session.execute(text("SELECT pg_advisory_xact_lock(7)"))
        return int(await session.scalar(text("SELECT count(*) FROM pg_locks WHERE objid = 7")) or 0)

    async with library(postgres_url, [handler, locks], max_connections=1) as opened:
        assert (await opened.client.get("/")).status_code == 500
        assert (await opened.client.get("/locks")).json() == 1
        async with opened.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(Book)) == 0


async def test_a_read_leaves_no_trace_on_its_connection(library: Open, postgres_url: str) -> None:
    @get("/")
    async def read(session: NamedDependency[AsyncSession]) -> int:
        return await session.scalar(select(func.count()).select_from(Book)) or 0

    @get("/fails")
    async def fails(session: NamedDependency[AsyncSession]) -> None:
        await session.execute(text("SELECT nothing FROM books"))

    @post("/")
    async def write(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))
        await session.flush()
        raise ZeroDivisionError

    async with library(postgres_url, [read, fails, write], max_connections=1) as opened:
        for path in ("/", "/fails"):
            await opened.client.get(path)
            assert (await opened.client.post("/")).status_code == 500
            assert (await opened.client.get("/")).json() == 0


async def test_a_session_may_ask_for_more_than_plain_reads(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, []) as opened:
        async with opened.database.session(reads_only=True) as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            assert await session.scalar(text("SHOW transaction_isolation")) == "repeatable read"
            await _is_one_transaction(session)
        async with opened.database.session(reads_only=True) as session:
            rows = [row async for row in await session.stream(select(Book.title))]
            assert rows == []
            await _is_one_transaction(session)
        async with opened.database.session(reads_only=True) as session:
            with pytest.raises(DBAPIError):
                async with session.begin_nested():
                    await session.execute(text("SELECT nothing FROM books"))
            await _is_one_transaction(session)


async def _is_one_transaction(session: AsyncSession) -> None:
    began: list[Any] = [await session.scalar(text("SELECT now()")) for _ in range(2)]
    assert began[0] == began[1]
