"""A statement that is sent together with the COMMIT of a unit of work."""

from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from starkeel_db import CommitRefusedError, LastStatement, send_with_commit

from .conftest import Book, Library, Open, Shelf, titles

pytestmark = pytest.mark.needs_postgres

_RENAME = "UPDATE books SET title = title || ' 2'"
_REFUSE = (
    "SELECT CASE count(*) WHEN 0 THEN CAST(left('no shelf', 100 + count(*)::integer) AS integer) END"
    " FROM shelves"
)


async def add_book(opened: Library, last: str, *, shelf_id: int | None = None) -> LastStatement:
    """Add a book, which is not flushed before the commit."""
    async with opened.database.session() as session:
        session.add(Book(title="momo", shelf_id=shelf_id))
        return await send_with_commit(session, last, refusal="no shelf")


async def test_the_statement_takes_effect_with_the_commit(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, [], max_connections=1) as opened:
        last = await add_book(opened, _RENAME)
        assert last.is_sent
        assert await titles(opened) == ["momo 2"]
        # And with no later one.
        async with opened.database.session() as session:
            session.add(Shelf(id=1))
        assert await titles(opened) == ["momo 2"]


async def test_the_statement_needs_no_round_trip_of_its_own(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, [], max_connections=1) as opened:
        async with opened.database.session() as session:
            raw = await (await session.connection()).get_raw_connection()
            sent: list[str] = []
            raw.driver_connection.add_query_logger(lambda record: sent.append(record.query))
        await add_book(opened, _RENAME)
    assert [query for query in sent if "UPDATE" in query or "COMMIT" in query] == [f"{_RENAME}; COMMIT;"]


@pytest.mark.parametrize("shelf_id", [None, 7], ids=["alone", "and the commit would have failed"])
async def test_the_statement_refuses_the_commit(
    library: Open, postgres_url: str, shelf_id: int | None
) -> None:
    async with library(postgres_url, [], max_connections=1) as opened:
        with pytest.raises(CommitRefusedError):
            await add_book(opened, _REFUSE, shelf_id=shelf_id)
        # The connection has no failed transaction.
        assert await titles(opened) == []
        async with opened.database.session() as session:
            session.add(Shelf(id=1))
        assert (await add_book(opened, _REFUSE)).is_sent


async def test_other_errors_of_statement_and_commit_stay(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, [], max_connections=1) as opened:
        with pytest.raises(DBAPIError, match="division by zero"):
            await add_book(opened, "SELECT 1 / count(*) FROM shelves")
        # The foreign key is checked at the commit.
        with pytest.raises(IntegrityError):
            await add_book(opened, _RENAME, shelf_id=7)
        assert await titles(opened) == []
        assert (await add_book(opened, _RENAME)).is_sent


async def test_a_statement_that_is_not_sent_is_forgotten(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, [], max_connections=1) as opened:
        async with opened.database.session() as session:
            session.add(Book(title="momo"))
        kept: list[LastStatement] = []
        with suppress(ZeroDivisionError):
            async with opened.database.session() as session:
                await session.execute(text("SELECT 1"))
                kept.append(await send_with_commit(session, _RENAME, refusal="no shelf"))
                raise ZeroDivisionError
        # Nothing was executed, so that the database has no transaction.
        async with opened.database.session() as session:
            kept.append(await send_with_commit(session, _RENAME, refusal="no shelf"))
        async with opened.database.session() as session:
            await session.execute(text("SELECT 1"))
        assert [last.is_sent for last in kept] == [False, False]
        assert await titles(opened) == ["momo"]


async def test_an_unused_session_takes_no_connection(library: Open, postgres_url: str) -> None:
    async with library(postgres_url, [], max_connections=1, acquire_timeout_s=0.2) as opened:
        async with opened.database.session() as session, opened.database.lazy_session() as lazy:
            await session.execute(text("SELECT 1"))
            assert lazy.made is None
        async with opened.database.lazy_session() as lazy:
            lazy.get().add(Book(title="momo"))
        assert await titles(opened) == ["momo"]
