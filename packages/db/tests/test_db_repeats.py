"""A request that loses a conflict of a real PostgreSQL is executed again, where it may be."""

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


class Meeting:
    """Where so many requests wait for one another; who comes later goes on."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all_there = asyncio.Event()

    async def come(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all_there.set()
        await asyncio.wait_for(self._all_there.wait(), 30)


def retries(reason: str) -> float:
    return REGISTRY.get_sample_value("db_unit_of_work_retries_total", {"reason": reason}) or 0.0


async def all_of(client: httpx2.AsyncClient, paths: Sequence[str]) -> list[int]:
    answers = await asyncio.gather(*(client.post(path, content=b'{"by": 1}') for path in paths))
    return sorted(answer.status_code for answer in answers)


async def _stock(opened: Any) -> None:
    async with opened.database.session() as session:
        session.add_all([Book(id=1, title="0"), Book(id=2, title="0")])


async def _count(opened: Any) -> list[str]:
    async with opened.database.session() as session:
        return list(await session.scalars(select(Book.title).order_by(Book.id)))


ADD = text("UPDATE books SET title = CAST(title AS int) + 1 WHERE id = :id")


def deadlocking(path: str, opt: dict[str, Any]) -> Any:
    meeting = Meeting(2)

    @post(f"{path}/{{first:int}}/{{second:int}}", opt=opt)
    async def handler(
        request: Request[Any, Any, Any],
        session: NamedDependency[AsyncSession],
        first: FromPath[int],
        second: FromPath[int],
    ) -> None:
        assert await request.json() == {"by": 1}
        await session.execute(ADD, {"id": first})
        await meeting.come()
        await session.execute(ADD, {"id": second})

    return handler


async def test_who_loses_a_deadlock_is_executed_again(library: Open, postgres_url: str) -> None:
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


async def test_who_cannot_be_serialized_is_executed_again(
    library: Open, postgres_url: str, logged: list[Any]
) -> None:
    """Each writes what it read plus one, so that of those who read the same only one may write."""
    meeting = Meeting(3)
    told: list[str] = []

    @post("/", opt=repeat_conflicts(6))
    async def add(session: NamedDependency[AsyncSession]) -> None:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        book = await session.get_one(Book, 1)
        await meeting.come()
        book.title = str(int(book.title) + 1)
        after_commit(session, lambda: told.append("added"))

    before = retries("serialization")
    async with library(postgres_url, [add]) as opened:
        await _stock(opened)

        assert await all_of(opened.client, ["/"] * 3) == [201] * 3
        assert (await _count(opened))[0] == "3"
    assert retries("serialization") >= before + 2
    assert told == ["added"] * 3
    assert not [entry for entry in logged if entry["event"] in {"database unavailable", "request failed"}]


async def test_a_commit_that_cannot_be_serialized_is_done_again(library: Open, postgres_url: str) -> None:
    """Both count and then add: whichever order they are put in, one has counted what it should not have."""
    meeting = Meeting(2)

    @post("/", opt=repeat_conflicts())
    async def add(session: NamedDependency[AsyncSession]) -> None:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        count = await session.scalar(select(func.count()).select_from(Book))
        session.add(Book(title=str(count)))
        await session.flush()
        await meeting.come()

    async with library(postgres_url, [add]) as opened:
        assert await all_of(opened.client, ["/", "/"]) == [201, 201]
        assert await _count(opened) == ["0", "1"]


async def test_it_is_not_executed_for_ever(library: Open, postgres_url: str) -> None:
    times = 0

    @post("/", opt=repeat_conflicts(3))
    async def always(session: NamedDependency[AsyncSession]) -> None:
        nonlocal times
        times += 1
        session.add(Book(title="momo"))
        await session.flush()
        await session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    async with library(postgres_url, [always]) as opened:
        answer = await opened.client.post("/")
        assert await _count(opened) == []
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert times == 3


async def test_other_failures_are_not_repeated(library: Open, postgres_url: str) -> None:
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
def test_it_is_bounded(attempts: int) -> None:
    with pytest.raises(ValueError, match="2 to 10 times"):
        repeat_conflicts(attempts)
