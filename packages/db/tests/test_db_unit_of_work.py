"""A request's changes are committed before its response starts, or not at all."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabasePlugin, after_commit

from .conftest import Book, Open, titles


@post("/books/{title:str}")
async def add(title: FromPath[str], session: NamedDependency[AsyncSession]) -> dict[str, Any]:
    book = Book(title=title)
    session.add(book)
    await session.flush()
    return {"id": book.id, "title": book.title}


@post("/lost/{title:str}")
async def add_to_no_shelf(title: FromPath[str], session: NamedDependency[AsyncSession]) -> dict[str, Any]:
    session.add(Book(title=title, shelf_id=404))
    await session.flush()
    return {"title": title}


async def test_changes_are_committed_when_the_response_arrives(library: Open, database_url: str) -> None:
    async with library(database_url, [add]) as opened:
        response = await opened.client.post("/books/momo")

        assert response.status_code == 201
        assert await titles(opened) == ["momo"]


async def test_a_failed_commit_is_never_a_2xx(library: Open, database_url: str, logged: list[Any]) -> None:
    async with library(database_url, [add_to_no_shelf]) as opened:
        response = await opened.client.post("/lost/momo")

        assert response.status_code == 500
        assert "momo" not in response.text
        assert await titles(opened) == []
    failures = [entry for entry in logged if entry["event"] == "commit failed"]
    assert [(entry["log_level"], entry["error"]) for entry in failures] == [("error", "IntegrityError")]
    assert "momo" not in str(failures)


async def test_a_caught_statement_error_is_never_a_2xx(
    library: Open, postgres_url: str, logged: list[Any]
) -> None:
    """After an error PostgreSQL treats COMMIT as ROLLBACK without reporting an error."""

    @post("/")
    async def swallows(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))
        await session.flush()
        with suppress(DBAPIError):
            await session.execute(text("SELECT nothing FROM nowhere"))

    @post("/saved")
    async def saves(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))
        await session.flush()
        with suppress(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("SELECT nothing FROM nowhere"))

    async with library(postgres_url, [swallows, saves]) as opened:
        assert (await opened.client.post("/")).status_code == 500
        assert await titles(opened) == []
        assert (await opened.client.post("/saved")).status_code == 201
        assert await titles(opened) == ["momo"]
    assert [entry["log_level"] for entry in logged if entry["event"] == "commit failed"] == ["error"]


async def test_the_commit_happens_before_the_first_byte(library: Open, database_url: str) -> None:
    seen: list[int] = []

    def observing(app: ASGIApp) -> ASGIApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            async def observe(message: Message) -> None:
                if message["type"] == "http.response.start":
                    plugin = scope["litestar_app"].plugins.get(DatabasePlugin)
                    async with plugin.session() as session:
                        seen.append(await session.scalar(select(func.count()).select_from(Book)) or 0)
                await send(message)

            await app(scope, receive, observe)

        return middleware

    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))

    async with library(database_url, [handler]) as opened:
        opened.app.asgi_handler = observing(opened.app.asgi_handler)
        assert (await opened.client.post("/")).status_code == 201

    assert seen == [1]


@pytest.mark.parametrize("status", [400, 409, 500])
async def test_an_error_response_writes_nothing(library: Open, database_url: str, status: int) -> None:
    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> Response[None]:
        session.add(Book(title="momo"))
        await session.flush()
        return Response(None, status_code=status)

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).status_code == status
        assert await titles(opened) == []


async def test_a_redirect_is_committed(library: Open, database_url: str) -> None:
    @post("/", status_code=303)
    async def handler(session: NamedDependency[AsyncSession]) -> Response[None]:
        session.add(Book(title="momo"))
        return Response(None, status_code=303, headers={"Location": "/books"})

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/", follow_redirects=False)).status_code == 303
        assert await titles(opened) == ["momo"]


async def test_an_exception_writes_nothing(library: Open, database_url: str) -> None:
    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))
        await session.flush()
        raise ClientException("no", status_code=422)

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).status_code == 422
        assert await titles(opened) == []


async def test_a_handler_can_catch_an_integrity_error(library: Open, database_url: str) -> None:
    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        session.add_all([Book(id=7, title="momo"), Book(id=7, title="jim")])
        try:
            await session.flush()
        except IntegrityError as error:
            raise ClientException("taken", status_code=409) from error

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).status_code == 409
        assert await titles(opened) == []


async def test_after_commit_actions_run_after_the_commit_only(library: Open, database_url: str) -> None:
    actions: list[str] = []

    @post("/{shelf_id:int}")
    async def handler(shelf_id: FromPath[int], session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo", shelf_id=shelf_id or None))
        await session.flush()
        after_commit(session, lambda: actions.append("news"))
        assert not actions

    async with library(database_url, [handler]) as opened:
        await opened.client.post("/404")
        assert actions == []
        await opened.client.post("/0")
        assert actions == ["news"]


async def test_an_action_that_raises_neither_fails_the_request_nor_stops_the_others(
    library: Open, database_url: str, logged: list[Any]
) -> None:
    actions: list[str] = []

    def fail() -> None:
        raise ValueError("no such product")

    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))
        after_commit(session, fail)
        after_commit(session, lambda: actions.append("second"))

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).status_code == 201
        assert await titles(opened) == ["momo"]
    assert actions == ["second"]
    assert [entry["log_level"] for entry in logged if entry["event"] == "action after the commit failed"] == [
        "error"
    ]


async def test_after_commit_actions_are_discarded_on_rollback(library: Open, database_url: str) -> None:
    actions: list[str] = []
    async with library(database_url, []) as opened, opened.database.session() as session:
        await session.scalar(text("SELECT 1"))
        after_commit(session, lambda: actions.append("undone"))
        await session.rollback()
        await session.scalar(text("SELECT 1"))
        after_commit(session, lambda: actions.append("done"))
    assert actions == ["done"]


async def test_a_closed_session_continues_with_a_new_transaction(library: Open, database_url: str) -> None:
    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        await session.scalar(text("SELECT 1"))
        await session.close()
        session.add(Book(title="momo"))

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).status_code == 201
        assert await titles(opened) == ["momo"]


async def test_concurrent_writers_all_succeed(library: Open, database_url: str) -> None:
    @post("/")
    async def read_then_write(session: NamedDependency[AsyncSession]) -> None:
        # On SQLite an upgrade from a read to a write transaction would fail.
        await session.scalar(select(func.count()).select_from(Book))
        session.add(Book(title="momo"))

    async with library(database_url, [read_then_write], max_connections=8) as opened:
        responses = await asyncio.gather(*(opened.client.post("/") for _ in range(40)))

        assert {response.status_code for response in responses} == {201}
        assert len(await titles(opened)) == 40


async def test_two_applications_write_to_one_database(library: Open, database_url: str) -> None:
    async with library(database_url, [add]) as first, library(database_url, [add]) as other:
        clients = [first.client, other.client] * 15
        responses = await asyncio.gather(*(client.post("/books/momo") for client in clients))

        assert {response.status_code for response in responses} == {201}
        assert len(await titles(first)) == 30
