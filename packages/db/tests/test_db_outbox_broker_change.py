"""Events that another broker may lack are published to it again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from starkeel_db import BrokerUnavailableError, Event

from .conftest import until
from .outbox_process import Shelf, boxes


class Server(Shelf):
    """A broker that another one can take the place of."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "first"
        self.queried: Counter[str] = Counter()
        self.on_publish: Callable[[], Awaitable[None]] | None = None

    async def identity(self) -> str:
        if self.is_unavailable:
            self.queried["unavailable"] += 1
            raise BrokerUnavailableError("down")
        self.queried[self.name] += 1
        return self.name

    async def publish(self, event: Event) -> None:
        if self.on_publish is not None:
            on_publish, self.on_publish = self.on_publish, None
            await on_publish()
        await super().publish(event)

    def replace(self) -> None:
        """Let another server that lacks all events take the place."""
        self.name, self.got = "second", []

    @property
    def payloads(self) -> list[str]:
        return [event.payload for event in self.got]


def events(logged: list[Any], name: str) -> list[Any]:
    return [entry for entry in logged if entry["event"] == name]


async def test_another_broker_receives_the_last_events_without_a_new_one(
    database_url: str, logged: list[Any]
) -> None:
    server = Server()
    async with boxes(database_url, broker=server) as [box]:
        await box.add("ada", "1", "2")
        await until(lambda: server.payloads == ["1", "2"])
        server.replace()
        await until(lambda: server.payloads == ["1", "2"])
    [line] = events(logged, "broker changed")
    assert line["events"] == 2


async def test_several_relays_publish_once_to_another_broker(database_url: str, logged: list[Any]) -> None:
    servers = [Server(), Server(), Server()]

    def count() -> int:
        return sum(len(server.got) for server in servers)

    async with AsyncExitStack() as stack:
        for server in servers:
            [box] = await stack.enter_async_context(boxes(database_url, broker=server))
        await box.add("ada", "1", "2")
        await until(lambda: count() == 2)
        await until(lambda: all(server.queried["first"] for server in servers))
        for server in servers:
            server.replace()
        await until(lambda: count() == 2)
        # Each has found the other broker, and gone on.
        await until(lambda: all(server.queried["second"] >= 3 for server in servers))
        assert count() == 2
    assert len(events(logged, "broker changed")) == 1


async def test_a_change_while_no_relay_runs_is_noticed(database_url: str) -> None:
    server = Server()
    async with boxes(database_url, broker=server) as [box]:
        await box.add("ada", "1")
        await until(lambda: server.payloads == ["1"])
    server.replace()
    async with boxes(database_url, broker=server):
        await until(lambda: server.payloads)
    assert server.payloads == ["1"]


async def test_what_was_published_before_a_long_outage_is_published_again(database_url: str) -> None:
    server = Server()
    async with boxes(database_url, broker=server) as [box]:
        await box.add("ada", "1")
        await until(lambda: server.payloads == ["1"])
        [(published_at,)] = await _until_published(box.execute)
        server.is_unavailable = True
        await until(lambda: server.queried["unavailable"])
        # As if it had begun an hour ago.
        earlier = datetime.fromisoformat(str(published_at)) - timedelta(hours=1)
        await box.execute(f"UPDATE outbox SET published_at = '{earlier}'")
        await box.execute(f"UPDATE outbox_broker SET confirmed_at = '{earlier + timedelta(seconds=10)}'")
        server.replace()
        server.is_unavailable = False
        await until(lambda: server.payloads)
    assert server.payloads == ["1"]


async def _until_published(execute: Callable[[str], Awaitable[list[Any]]]) -> list[Any]:
    async with asyncio.timeout(20):
        published = "SELECT published_at FROM outbox WHERE published_at IS NOT NULL"
        while not (rows := await execute(published)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return rows


async def test_an_outage_is_reported_when_an_event_waits(database_url: str, logged: list[Any]) -> None:
    server = Server()
    server.is_unavailable = True
    async with boxes(database_url, broker=server) as [box]:
        await until(lambda: server.queried["unavailable"] >= 3)
        assert not events(logged, "events not published")
        await box.add("ada", "1")
        await until(lambda: events(logged, "events not published"))
        server.is_unavailable = False
        await until(lambda: events(logged, "events published again"))
    assert server.payloads == ["1"]


async def test_what_was_published_to_the_broker_of_before_is_not_recorded(database_url: str) -> None:
    """Another relay finds the change while this one publishes."""
    server = Server()
    async with boxes(database_url, broker=server) as [box]:
        await until(lambda: server.queried["first"])

        async def change() -> None:
            await box.execute("UPDATE outbox_broker SET identity = 'second'")

        server.on_publish = change
        await box.add("ada", "1")
        await until(lambda: server.payloads == ["1"])
        server.replace()
        await until(lambda: server.payloads)
    assert server.payloads == ["1"]
