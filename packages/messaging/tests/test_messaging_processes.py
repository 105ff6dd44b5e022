"""Events while processes are killed and stopped, and while broker and database are away."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from starkeel_db import DatabaseUnavailable
from starkeel_testing import OwnPostgres, OwnRedis

from .messaging_shop import Shop, count_parcel, shop, until

pytestmark = pytest.mark.timeout(240)

_KEYS = 8


@asynccontextmanager
async def publisher(url: str, broker: str) -> AsyncGenerator[Shop]:
    """Run an application that publishes, and handles nothing."""
    async with shop(url, broker, handlers=[], works=False) as running:
        yield running


async def start(url: str, broker: str, *, grace_s: float = 5.0) -> Process:
    """Start a process that handles events."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "packages.messaging.tests.event_process", url, broker, str(grace_s)),
        stdout=PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while (line := await process.stdout.readline()) != b"running\n":
            assert line, "the process has ended"
    return process


@asynccontextmanager
async def consumers(url: str, broker: str, count: int) -> AsyncGenerator[list[Process]]:
    """Run processes that handle events; the list may be changed."""
    processes = [await start(url, broker) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def handled(running: Shop) -> list[tuple[str, int]]:
    """Return key and number of the handled events, in the order of their handling."""
    return [
        (row.key, row.number) for row in await running.execute("SELECT key, number FROM effects ORDER BY id")
    ]


async def until_handled(running: Shop, count: int) -> list[tuple[str, int]]:
    async with asyncio.timeout(90):
        while len(rows := await handled(running)) < count:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)
    return rows


async def publish(running: Shop, numbers: range) -> None:
    """Publish each number in a unit of work of its own; numbers share keys."""
    for number in numbers:
        await running.publish(number, key=f"key {number % _KEYS}")


async def publish_when_possible(running: Shop, number: int) -> None:
    """Publish a number as soon as the database is back."""
    async with asyncio.timeout(60):
        while True:
            try:
                await publish(running, range(number, number + 1))
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)
            else:
                return


def assert_once_and_in_order(rows: list[tuple[str, int]], count: int) -> None:
    assert Counter(number for _, number in rows) == Counter(range(count))
    for key in {key for key, _ in rows}:
        numbers = [number for each, number in rows if each == key]
        assert all(first < second for first, second in pairwise(numbers)), key


async def test_events_of_killed_consumers_take_effect_once_and_in_order(
    postgres_url: str, redis_url: str
) -> None:
    url = postgres_url
    async with publisher(url, redis_url) as running, consumers(url, redis_url, 2) as processes:
        for kill in range(5):
            await publish(running, range(kill * 60, kill * 60 + 60))
            victim = processes[kill % 2]
            await until_handled(running, kill * 30 + 1)
            victim.kill()
            await victim.wait()
            processes[kill % 2] = await start(url, redis_url)

        rows = await until_handled(running, 300)
        assert await running.execute("SELECT 1 FROM jobs WHERE state <> 'succeeded'") == []
    assert_once_and_in_order(rows, 300)


async def test_a_stopped_consumer_hands_the_topic_over_at_once(postgres_url: str, redis_url: str) -> None:
    async with publisher(postgres_url, redis_url) as running:
        async with consumers(postgres_url, redis_url, 1) as processes:
            [first] = processes
            await publish(running, range(40))
            await until_handled(running, 1)
            first.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await first.wait() == 0
            [topic] = await running.execute("SELECT holder FROM event_topics")
            assert topic.holder is None
            assert await running.execute("SELECT 1 FROM jobs WHERE state = 'running'") == []
        async with consumers(postgres_url, redis_url, 1):
            await publish(running, range(40, 60))
            rows = await until_handled(running, 60)
    assert_once_and_in_order(rows, 60)


async def test_replicas_share_the_handling(postgres_url: str, redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(publisher(postgres_url, redis_url))
        await stack.enter_async_context(consumers(postgres_url, redis_url, 2))
        await publish(running, range(200))
        rows = await until_handled(running, 200)
        [holders] = await running.execute("SELECT count(holder) FROM event_topics")
        workers = await running.execute("SELECT DISTINCT worker FROM jobs")
    assert holders == (1,)
    assert len(workers) == 2
    assert_once_and_in_order(rows, 200)


async def test_events_wait_while_the_broker_is_away(
    postgres_url: str, own_redis: OwnRedis, logged: list[Any]
) -> None:
    async with shop(postgres_url, own_redis.url) as running:
        await running.publish(1)
        await running.until_handled(1)

        own_redis.kill()
        await running.publish(2, 3)
        await until(lambda: [line for line in logged if line["event"] == "events not published"])
        await until(lambda: [line for line in logged if line["event"] == "events not received"])
        own_redis.start()

        assert await running.until_handled(3) == [1, 2, 3]
        assert await running.jobs.records(state="failed") == []


async def test_events_wait_while_the_database_is_away(own_postgres: OwnPostgres, redis_url: str) -> None:
    url = own_postgres.url
    async with publisher(url, redis_url) as running, consumers(url, redis_url, 2):
        await publish(running, range(40))
        await until_handled(running, 1)
        own_postgres.kill()
        own_postgres.start()
        await publish_when_possible(running, 40)
        await publish(running, range(41, 80))
        rows = await until_handled(running, 80)
        failed = await running.execute("SELECT 1 FROM jobs WHERE state = 'failed'")
    assert failed == []
    assert_once_and_in_order(rows, 80)


async def test_nothing_is_lost_when_the_broker_loses_its_last_events(
    postgres_url: str, own_redis: OwnRedis, logged: list[Any]
) -> None:
    """As after a failover to a replica that lacks them."""
    async with publisher(postgres_url, own_redis.url) as running:
        await publish(running, range(20))
        async with consumers(postgres_url, own_redis.url, 1):
            await until_handled(running, 20)
        # Published, and lost before they are received.
        await publish(running, range(20, 40))
        async with asyncio.timeout(30):
            unpublished = "SELECT 1 FROM outbox WHERE published_at IS NULL"
            while await running.execute(unpublished):  # noqa: ASYNC110 - another task
                await asyncio.sleep(0.02)
        own_redis.execute("FLUSHALL")
        own_redis.kill()
        own_redis.start()
        async with consumers(postgres_url, own_redis.url, 1):
            await publish(running, range(40, 50))
            rows = await until_handled(running, 50)
    assert [line for line in logged if line["event"] == "broker changed"]
    assert_once_and_in_order(rows, 50)


def test_the_handler_is_one_of_the_jobs() -> None:
    assert count_parcel.job.name == "count_parcel"
