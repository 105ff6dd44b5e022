"""A request's changes are committed before its response starts, or not at all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from litestar import Litestar, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath
from litestar.response import ServerSentEvent, Stream
from litestar.testing import TestClient
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, UnitOfWorkIsOverError, after_commit

from .conftest import Base, Book, Library, Open


async def titles(opened: Library) -> list[str]:
    async with opened.database.session() as session:
        return list(await session.scalars(select(Book.title).order_by(Book.id)))


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


async def test_a_cancelled_request_writes_nothing_and_releases_its_connection(
    library: Open, database_url: str
) -> None:
    reached = asyncio.Event()

    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        session.add(Book(title="momo"))
        await session.flush()
        reached.set()
        await asyncio.Event().wait()

    async with library(database_url, [handler], max_connections=1, acquire_timeout_s=1) as opened:
        request = asyncio.create_task(opened.client.post("/"))
        await asyncio.wait_for(reached.wait(), 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

        assert await titles(opened) == []


async def test_a_cancelled_statement_releases_its_connection(library: Open, database_url: str) -> None:
    endless = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "postgresql": "SELECT pg_sleep(3600)",
    }[database_url.partition(":")[0]]

    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        await session.scalar(text("SELECT 1"))
        current = asyncio.current_task()
        assert current is not None
        asyncio.get_running_loop().call_later(0.1, current.cancel)
        await session.execute(text(endless))

    async with library(database_url, [handler], max_connections=1, acquire_timeout_s=2) as opened:
        # In a task of its own, because that task is cancelled.
        request = asyncio.create_task(opened.client.get("/"))
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await asyncio.wait_for(titles(opened), 10) == []


async def test_a_stream_holds_no_connection(library: Open, database_url: str) -> None:
    @get("/")
    async def handler(
        session: NamedDependency[AsyncSession], database: NamedDependency[DatabasePlugin]
    ) -> ServerSentEvent:
        await session.scalar(text("SELECT 1"))

        async def events() -> AsyncGenerator[str]:
            # The only connection of the pool.
            async with database.session() as other:
                yield str(await other.scalar(text("SELECT 42")))

        return ServerSentEvent(events())

    async with library(database_url, [handler], max_connections=1, acquire_timeout_s=0.5) as opened:
        response = await opened.client.get("/")

    assert "data: 42" in response.text


async def test_a_session_cannot_be_used_after_the_start_of_the_response(
    library: Open, database_url: str
) -> None:
    raised: list[BaseException] = []

    async def late(session: AsyncSession) -> None:
        try:
            await session.execute(text("SELECT 1"))
        except UnitOfWorkIsOverError as error:
            raised.append(error)

    @post("/")
    async def handler(session: NamedDependency[AsyncSession]) -> Response[None]:
        return Response(None, background=BackgroundTask(late, session))

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).status_code == 201

    assert "database.session()" in str(raised[0])


async def test_a_streamed_response_is_committed_first(library: Open, database_url: str) -> None:
    seen: list[list[str]] = []

    @post("/")
    async def handler(
        session: NamedDependency[AsyncSession], database: NamedDependency[DatabasePlugin]
    ) -> Stream:
        session.add(Book(title="momo"))

        async def body() -> AsyncGenerator[str]:
            async with database.session() as other:
                seen.append(list(await other.scalars(select(Book.title))))
            yield "done"

        return Stream(body())

    async with library(database_url, [handler]) as opened:
        assert (await opened.client.post("/")).text == "done"

    assert seen == [["momo"]]


def test_a_websocket_has_sessions_but_no_unit_of_work(database_url: str) -> None:
    @websocket("/ws")
    async def handler(socket: WebSocket, database: NamedDependency[DatabasePlugin]) -> None:  # type: ignore[type-arg]  # Litestar refuses the generic form
        await socket.accept()
        async with database.session() as session:
            found = await session.scalar(text("SELECT 42"))
        await socket.send_text(str(found))
        await socket.close()

    @websocket("/wrong")
    async def wrong(socket: WebSocket, session: NamedDependency[AsyncSession]) -> None:  # type: ignore[type-arg]  # as above
        await socket.accept()

    settings = DatabaseSettings(url=Secret(database_url), min_connections=0)
    plugin = DatabasePlugin(settings, metadata=Base.metadata, migrations="library.migrations")
    with TestClient(Litestar([handler, wrong], plugins=[plugin])) as client:
        with client.websocket_connect("/ws") as socket:
            assert socket.receive_text() == "42"
        with (
            pytest.raises(Exception, match=r"database\.session\(\)"),
            client.websocket_connect("/wrong") as socket,
        ):
            socket.receive_text()


async def test_a_session_block_rolls_back_after_an_exception(library: Open, database_url: str) -> None:
    async def fail(database: DatabasePlugin) -> None:
        async with database.session() as session:
            session.add(Book(title="momo"))
            await session.flush()
            raise ZeroDivisionError

    async with library(database_url, []) as opened:
        with pytest.raises(ZeroDivisionError):
            await fail(opened.database)
        assert await titles(opened) == []


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


async def test_a_request_without_statements_checks_out_no_connection(
    library: Open, database_url: str
) -> None:
    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> str:
        return "fine"

    limits = {"max_connections": 1, "acquire_timeout_s": 1.0}
    async with library(database_url, [handler], **limits) as opened, opened.database.session() as session:
        await session.execute(text("SELECT 1"))
        assert (await opened.client.get("/")).text == "fine"
