"""Loss, order and lag of events on brokers, and the reaction of processes."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from starkeel_messaging._brokers.base import BrokerClient, Entry
from starkeel_messaging._brokers.nats_streams import NatsStreams
from starkeel_messaging._metrics import consumer_metrics
from starkeel_testing import OwnRedis

from .messaging_shop import append, connected, event, outgoing, shop, until

pytestmark = pytest.mark.timeout(120)


def metric(name: str, **labels: str) -> float:
    """Return the value of a series of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def read(client: BrokerClient, after: str = "") -> Sequence[Entry]:
    return (await client.read("depot", after=after, limit=100, wait_s=0.0)).entries


async def delete(broker_url: str, position: str) -> None:
    """Delete an event, as the broker does with the oldest ones."""
    if broker_url.startswith("nats"):
        async with connected(broker_url) as client:
            assert isinstance(client, NatsStreams)
            assert await client._streams.delete_msg("events-depot", int(position))
        return
    if broker_url.startswith("redis"):
        with redis.Redis.from_url(broker_url) as server:
            assert server.xdel("events:depot", position) == 1
        return
    with closing(sqlite3.connect(broker_url.removeprefix("sqlite:///"))) as file, file:
        assert file.execute("DELETE FROM events WHERE position = ?", (position,)).rowcount == 1


async def test_a_file_that_another_process_creates_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE another (value TEXT)")
        other.execute("BEGIN IMMEDIATE")
        async with connected(f"sqlite:///{path}") as client:
            appending = asyncio.ensure_future(client.append("depot", [outgoing(event(0))]))
            done, _ = await asyncio.wait([appending], timeout=0.5)
            assert not done
            other.execute("COMMIT")
            await appending
            assert len(await read(client)) == 1


async def test_a_read_reports_events_that_the_broker_has_deleted(broker_url: str) -> None:
    async with connected(broker_url) as client:
        for number in range(5):
            await client.append("other", [outgoing(event(number))])
            await client.append("depot", [outgoing(event(number))])
        positions = [entry.position for entry in await read(client)]
        # Received ones, and one between others.
        await delete(broker_url, positions[0])
        await delete(broker_url, positions[1])
        await delete(broker_url, positions[3])

        async def has_gap(after: str, limit: int) -> bool:
            return (await client.read("depot", after=after, limit=limit, wait_s=0.0)).has_gap

        assert not await has_gap("", 1), "a new consumer has missed nothing"
        assert await has_gap(positions[0], 1), "the second is deleted"
        assert not await has_gap(positions[1], 1), "what was received may be deleted"
        assert await has_gap(positions[1], 2), "the fourth is deleted"
        assert await has_gap(positions[2], 1)
        assert not await has_gap(positions[3], 1)


async def test_lag_counts_what_is_left_and_reports_when_nothing_is(broker_url: str) -> None:
    async with connected(broker_url) as client:
        assert await client.lag("depot", after="") == (0, 0.0, False)
        for number in range(3):
            await client.append("depot", [outgoing(event(number))])
            await client.append("other", [outgoing(event(number))])
        first, second, third = [entry.position for entry in await read(client)]

        for after, waiting in (("", 3), (first, 2), (second, 1)):
            lag = await client.lag("depot", after=after)
            assert (lag.waiting, lag.has_gap) == (waiting, False)
            assert 0 <= lag.oldest_s < 60
        assert await client.lag("depot", after=third) == (0, 0.0, False)
        await delete(broker_url, third)
        assert await client.lag("depot", after=third) == (0, 0.0, False)
        assert await client.lag("depot", after=second) == (0, 0.0, True)


async def test_lag_reads_no_events(redis_url: str) -> None:
    async with connected(redis_url) as client:
        for number in range(20):
            await client.append("depot", [outgoing(event(number, data="x" * 500_000))])
        with redis.Redis.from_url(redis_url) as server:
            before = server.info("stats")["total_net_output_bytes"]
            lag = await client.lag("depot", after="")
            sent = server.info("stats")["total_net_output_bytes"] - before
    assert lag.waiting == 20
    assert sent < 50_000


async def test_a_lost_event_is_reported_once(database_url: str, broker_url: str, logged: list[Any]) -> None:
    before = metric("consumer_failures_total", topic="depot", reason="lost")
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event(1))
        await running.until_handled(1)
    async with connected(broker_url) as client:
        await client.append("depot", [outgoing(event(2, event_id="2"))])
        await client.append("depot", [outgoing(event(3, event_id="3"))])
        [_, second, _] = await read(client)
        await delete(broker_url, second.position)

    async with shop(database_url, broker_url) as running:
        assert await running.until_handled(2) == [1, 3]
        await append(broker_url, event(4, event_id="4"))
        assert await running.until_handled(3) == [1, 3, 4]
    [line] = [line for line in logged if line["event"] == "events lost"]
    assert line["topic"] == "depot"
    assert metric("consumer_failures_total", topic="depot", reason="lost") == before + 1


async def test_the_loss_of_all_that_was_waiting_is_reported_once(
    postgres_url: str, redis_url: str, logged: list[Any]
) -> None:
    async with shop(postgres_url, redis_url) as running:
        await append(redis_url, event(1))
        await running.until_handled(1)
    await append(redis_url, event(2, event_id="2"))
    with redis.Redis.from_url(redis_url) as server:
        server.xtrim("events:depot", maxlen=0, approximate=False)

    async with shop(postgres_url, redis_url) as running:
        await until(lambda: [line for line in logged if line["event"] == "events lost"])
        await append(redis_url, event(3, event_id="3"))
        assert await running.until_handled(2) == [1, 3]
    assert len([line for line in logged if line["event"] == "events lost"]) == 1


async def test_a_recreated_database_has_other_event_ids(
    postgres_url: str, broker_url: str, tmp_path: Path
) -> None:
    """Its outbox has the positions of the one before."""
    async with (
        shop(postgres_url, broker_url, handlers=[], works=False) as publisher,
        shop(f"sqlite:///{tmp_path / 'consumer.db'}", broker_url, service="consumer") as consumer,
    ):
        await publisher.publish(1)
        assert await consumer.until_handled(1) == [1]
        await publisher.execute("TRUNCATE outbox RESTART IDENTITY")
        await publisher.publish(2)
        assert await consumer.until_handled(2) == [1, 2]


async def test_old_events_are_deleted_by_age(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        # Nodes of one entry: approximate deletion deletes whole nodes.
        server.config_set("stream-node-max-entries", 1)
        try:
            server.xadd("events:depot", {"event": event(1)}, id="1000-0")
            await append(redis_url, event(2))
            assert server.xlen("events:depot") == 1
        finally:
            server.config_set("stream-node-max-entries", 100)


async def test_only_the_process_that_receives_a_topic_reports_its_lag(
    postgres_url: str, redis_url: str
) -> None:
    lag = consumer_metrics().lag.labels(topic="depot")
    taken = "UPDATE event_topics SET holder = 'another', held_until = now() + interval '1 hour'"
    async with shop(postgres_url, redis_url) as running:
        await append(redis_url, event(1))
        await running.until_handled(1)
        lag.set(7)
        await running.execute(taken)
        await until(lambda: metric("consumer_lag", topic="depot") == 0)

        await running.execute("UPDATE event_topics SET holder = NULL, held_until = NULL")
        await append(redis_url, event(2, event_id="2"))
        await running.until_handled(2)
        lag.set(7)
    assert metric("consumer_lag", topic="depot") == 0


async def test_events_that_another_broker_lacks_are_received_without_a_new_one(
    postgres_url: str, own_redis: OwnRedis, logged: list[Any]
) -> None:
    """As after a failover to a replica that lacks the last events, also if no service runs meanwhile."""
    async with shop(postgres_url, own_redis.url) as running:
        await running.publish(1)
        await running.until_handled(1)
    async with shop(postgres_url, own_redis.url, works=False) as running:
        await running.publish(2, 3)
        await running.until_published()
    own_redis.kill()
    own_redis.start()

    async with shop(postgres_url, own_redis.url) as running:
        assert await running.until_handled(3) == [1, 2, 3]
        # While both are connected.
        await running.execute("UPDATE event_topics SET held_until = now() + interval '1 hour', holder = 'x'")
        await running.publish(4)
        await running.until_published()
        own_redis.kill()
        own_redis.start()
        await running.execute("UPDATE event_topics SET held_until = NULL, holder = NULL")
        assert await running.until_handled(4) == [1, 2, 3, 4]
    assert not [line for line in logged if line["event"] == "events lost"]


async def test_a_consumer_reads_what_a_slower_clock_has_written(
    postgres_url: str, own_redis: OwnRedis, logged: list[Any]
) -> None:
    """The ids of another server may be lower than the position, also while the connection is in order."""
    async with shop(postgres_url, own_redis.url) as running:
        await append(own_redis.url, event(1))
        await running.until_handled(1)
        own_redis.kill()
        own_redis.start()
        now = int(own_redis.execute("TIME")[0])
        own_redis.execute(
            "XADD", "events:depot", f"{(now - 120) * 1000}-0", "event", event(2, event_id="2").decode()
        )
        assert await running.until_handled(2) == [1, 2]
    assert [line for line in logged if line["event"] == "broker changed" and "topic" in line]
