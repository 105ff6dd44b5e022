"""Sessions and their connections: cancelled requests, streams, websockets, finished units of work."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from litestar import Litestar, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.response import ServerSentEvent, Stream
from litestar.testing import TestClient
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, UnitOfWorkIsOverError

from .conftest import Base, Book, Open, titles


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
