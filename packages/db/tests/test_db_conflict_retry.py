"""Requests are retried after a transaction conflict, on a real PostgreSQL."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabaseUnavailable, after_commit, repeat_conflicts

from .conftest import Book, Open


class Barrier:
    """A barrier for the first `count` requests; later ones pass."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._complete = asyncio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._complete.set()
        await asyncio.wait_for(self._complete.wait(), 30)


def retries(reason: str) -> float:
    return REGISTRY.get_sample_value("db_unit_of_work_retries_total", {"reason": reason}) or 0.0


async def all_of(client: httpx2.AsyncClient, paths: Sequence[str]) -> list[int]:
    responses = await asyncio.gather(*(client.post(path, content=b'{"by": 1}') for path in paths))
    return sorted(response.status_code for response in responses)


async def _stock(opened: Any) -> None:
    async with opened.database.session() as session:
        session.add_all([Book(id=1, title="0"), Book(id=2, title="0")])


async def _count(opened: Any) -> list[str]:
    async with opened.database.session() as session:
        return list(await session.scalars(select(Book.title).order_by(Book.id)))


ADD = text("UPDATE books SET title = CAST(title AS int) + 1 WHERE id = :id")


def deadlocking(path: str, opt: dict[str, Any]) -> Any:
    barrier = Barrier(2)

    @post(f"{path}/{{first:int}}/{{second:int}}", opt=opt)
    async def handler(
        request: Request[Any, Any, Any],
        session: NamedDependency[AsyncSession],
        first: FromPath[int],
        second: FromPath[int],
    ) -> None:
        assert await request.json() == {"by": 1}
        await session.execute(ADD, {"id": first})
        await barrier.wait()
        await session.execute(ADD, {"id": second})

    return handler


async def test_a_request_is_retried_after_a_deadlock(library: Open, postgres_url: str) -> None:
    before = retries("deadlock")
    handlers = [deadlocking("/safe", repeat_conflicts()), deadlocking("/other", {})]
    async with library(postgres_url, handlers) as opened:
        await _stock(opened)

        assert await all_of(opened.client, ["/safe/1/2", "/safe/2/1"]) == [201, 201]
        assert await _count(opened) == ["2", "2"]
        assert retries("deadlock") == before + 1

        assert await all_of(opened.client, ["/other/1/2", "/other/2/1"]) == [201, 503]
        assert await _count(opened) == ["3", "3"]
        assert retries("deadlock") == before + 1


async def test_a_request_is_retried_after_a_serialization_failure(
    library: Open, postgres_url: str, logged: list[Any]
) -> None:
    """Each request writes what it read plus one, so only one of those that read the same value can commit."""
    barrier = Barrier(3)
    committed: list[str] = []

    @post("/", opt=repeat_conflicts(6))
    async def add(session: NamedDependency[AsyncSession]) -> None:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        book = await session.get_one(Book, 1)
        await barrier.wait()
        book.title = str(int(book.title) + 1)
        after_commit(session, lambda: committed.append("added"))

    before = retries("serialization")
    async with library(postgres_url, [add]) as opened:
        await _stock(opened)

        assert await all_of(opened.client, ["/"] * 3) == [201] * 3
        assert (await _count(opened))[0] == "3"
    assert retries("serialization") >= before + 2
    assert committed == ["added"] * 3
    assert not [entry for entry in logged if entry["event"] in {"database unavailable", "request failed"}]


async def test_a_request_is_retried_after_a_serialization_failure_at_the_commit(
    library: Open, postgres_url: str
) -> None:
    """Both requests count and then insert; no serial order explains both counts."""
    barrier = Barrier(2)

    @post("/", opt=repeat_conflicts())
    async def add(session: NamedDependency[AsyncSession]) -> None:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        count = await session.scalar(select(func.count()).select_from(Book))
        session.add(Book(title=str(count)))
        await session.flush()
        await barrier.wait()

    async with library(postgres_url, [add]) as opened:
        assert await all_of(opened.client, ["/", "/"]) == [201, 201]
        assert await _count(opened) == ["0", "1"]


async def test_the_number_of_attempts_is_limited(library: Open, postgres_url: str) -> None:
    times = 0

    @post("/", opt=repeat_conflicts(3))
    async def always(session: NamedDependency[AsyncSession]) -> None:
        nonlocal times
        times += 1
        session.add(Book(title="momo"))
        await session.flush()
        await session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    async with library(postgres_url, [always]) as opened:
        response = await opened.client.post("/")
        assert await _count(opened) == []
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert times == 3


async def test_other_failures_are_not_retried(library: Open, postgres_url: str) -> None:
    times = 0

    @get("/", opt=repeat_conflicts())
    async def away() -> None:
        nonlocal times
        times += 1
        raise DatabaseUnavailable("gone")

    async with library(postgres_url, [away]) as opened:
        assert (await opened.client.get("/")).status_code == 503
    assert times == 1


@pytest.mark.parametrize("attempts", [1, 0, -1, 11])
def test_an_invalid_number_of_attempts_is_refused(attempts: int) -> None:
    with pytest.raises(ValueError, match="2 to 10 times"):
        repeat_conflicts(attempts)
