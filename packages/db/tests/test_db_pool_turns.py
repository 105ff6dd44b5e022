"""Clients get the connections of an exhausted pool in turn."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabaseUnavailable

from .conftest import Open
from .test_db_pool import hold

LIMITS = {"max_connections": 1, "min_connections": 0, "acquire_timeout_s": 20.0}
BUSY, QUIET = 30, 3


async def test_a_client_with_many_requests_does_not_delay_another(library: Open, database_url: str) -> None:
    served: list[str] = []

    @get("/{name:str}")
    async def handler(name: FromPath[str], session: NamedDependency[AsyncSession]) -> str:
        await session.execute(text("SELECT 1"))
        served.append(name)
        return name

    async with library(database_url, [handler], **LIMITS) as opened, asyncio.TaskGroup() as tasks:

        async def send(name: str) -> None:
            response = await opened.client.get(f"/{name}", headers={"Authorization": name})
            assert response.status_code == 200

        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 1)
            for _ in range(BUSY):
                tasks.create_task(send("busy"))
            await _until_waiting(opened.database, BUSY)
            for _ in range(QUIET):
                tasks.create_task(send("quiet"))
            await _until_waiting(opened.database, BUSY + QUIET)

    assert len(served) == BUSY + QUIET
    assert [index for index, name in enumerate(served) if name == "quiet"][-1] <= 2 * QUIET


async def test_a_turn_that_was_given_up_is_another_ones(library: Open, database_url: str) -> None:
    async with library(database_url, [], **LIMITS) as opened:

        async def use() -> None:
            async with AsyncExitStack() as stack:
                await hold(stack, opened.database, 1)

        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 1)
            tasks = [asyncio.create_task(use()) for _ in range(4)]
            await _until_waiting(opened.database, len(tasks))
            tasks[0].cancel()
        # The first turn is granted as the connection returns, to a task that is cancelled at the same time.
        tasks[1].cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[2:] == [None, None]
        # All connections are free again.
        await asyncio.wait_for(use(), 20)


async def test_a_checkout_that_waits_too_long_fails(library: Open, database_url: str) -> None:
    async with library(database_url, [], **LIMITS | {"acquire_timeout_s": 0.2}) as opened:
        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 1)
            with pytest.raises(DatabaseUnavailable):
                await hold(stack, opened.database, 1)
        async with AsyncExitStack() as stack:
            await hold(stack, opened.database, 1)


async def _until_waiting(database: Any, count: int) -> None:
    async with asyncio.timeout(20):
        while database._opened().engine.pool.waiting != count:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
