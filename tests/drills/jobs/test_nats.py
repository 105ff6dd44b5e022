"""Events by way of NATS: the tests of every broker, and a server that is killed or loses its disk."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starkeel_db import BrokerUnavailableError
from starkeel_messaging._brokers.base import Entry

from packages.messaging.tests import test_messaging_brokers, test_messaging_events, test_messaging_replay
from packages.messaging.tests.conftest import logged as logged
from packages.messaging.tests.messaging_shop import connected, event, outgoing, shop, until
from packages.messaging.tests.test_messaging_brokers import read

from .own_nats import OwnNats

pytestmark = pytest.mark.timeout(120)

# The tests of every broker, with the `broker_url` below.
for _module in (test_messaging_brokers, test_messaging_events, test_messaging_replay):
    for _name, _test in inspect.getmembers(_module, inspect.isfunction):
        if _name.startswith("test_") and "broker_url" in inspect.signature(_test).parameters:
            globals()[_name] = _test


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[OwnNats]:
    """Run a server of the test's own."""
    server = OwnNats(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def broker_url(own_nats: OwnNats) -> str:
    """Return the URL of an empty broker."""
    return own_nats.url


async def test_large_events_arrive(own_nats: OwnNats) -> None:
    bodies = [event(number, note="x" * 880_000) for number in range(60)]
    async with connected(own_nats.url) as client:
        for number, body in enumerate(bodies):
            await client.append("depot", [outgoing(body, str(number))])
        found: list[Entry] = []
        # A read ends after two megabytes.
        while entries := await read(client, found[-1].position if found else ""):
            assert len(entries) <= 2
            found += entries
    assert [entry.body for entry in found] == bodies


async def test_an_event_that_is_published_twice_is_kept_once(own_nats: OwnNats) -> None:
    async with connected(own_nats.url) as client:
        for number in (1, 1, 2):
            await client.append("depot", [outgoing(event(number), str(number))])
        assert (await client.lag("depot", after="")).waiting == 2


async def test_events_wait_while_the_broker_is_away(
    postgres_url: str, own_nats: OwnNats, logged: list[Any]
) -> None:
    own_nats.kill()
    async with shop(postgres_url, own_nats.url) as running:
        await running.publish(1)
        await until(lambda: [line for line in logged if line["event"] == "events not published"])
        own_nats.start()
        assert await running.until_handled(1) == [1]

        own_nats.kill()
        await running.publish(2, 3)
        await until(lambda: len([line for line in logged if line["event"] == "events not published"]) > 1)
        own_nats.start()
        assert await running.until_handled(3) == [1, 2, 3]
        assert await running.jobs.records(state="failed") == []


async def test_another_stream_receives_nothing_before_its_identity_is_known(own_nats: OwnNats) -> None:
    """It would receive an event before those of the same key that it lacks."""
    async with connected(own_nats.url) as client:
        before = await client.identity("depot", is_own=True)
        await client.append("depot", [outgoing(event(1))])
        own_nats.kill()
        own_nats.delete_data()
        own_nats.start()
        await until(lambda: client._interruptions)  # type: ignore[attr-defined]
        with pytest.raises(BrokerUnavailableError):
            await client.append("depot", [outgoing(event(2))])

        assert await client.identity("depot", is_own=True) not in {"", before}
        await client.append("depot", [outgoing(event(2))])
        assert (await client.lag("depot", after="")).waiting == 1


async def test_nothing_is_lost_when_the_broker_loses_its_disk(
    postgres_url: str, own_nats: OwnNats, logged: list[Any]
) -> None:
    async with shop(postgres_url, own_nats.url) as running:
        await running.publish(*range(5))
        await running.until_handled(5)
    async with shop(postgres_url, own_nats.url, works=False) as running:
        await running.publish(5, 6)
        await running.until_published()
    own_nats.kill()
    own_nats.delete_data()
    own_nats.start()

    async with shop(postgres_url, own_nats.url) as running:
        assert await running.until_handled(7) == list(range(7))
        await running.publish(7)
        assert await running.until_handled(8) == list(range(8))
    assert [line for line in logged if line["event"] == "broker changed" and "topic" in line]


async def test_settings_change_what_is_kept(postgres_url: str, own_nats: OwnNats) -> None:
    async with shop(postgres_url, own_nats.url) as running:
        await running.publish(1)
        await running.until_handled(1)
    async with shop(postgres_url, own_nats.url, kept_events=1234, kept_hours=2) as running:
        await running.publish(2)
        assert await running.until_handled(2) == [1, 2]
    async with connected(own_nats.url) as client:
        config = (await client._streams.stream_info("events-depot")).config  # type: ignore[attr-defined]
    assert (config.max_msgs, config.max_age) == (1234, 7200)
