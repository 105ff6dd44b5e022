"""Many streams that replay a long history, while another user places orders and receives their events."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starkeel_testing import Service, running

from ...support.orders import Customer
from ...support.postgres import execute, value
from ...support.report import report

pytestmark = pytest.mark.timeout(300)

EVENTS, READERS, STREAMS, ORDERS = 80_000, 4, 10, 10
"""Events of each reading user, reading users, streams of each, and orders of the other user."""
COPY = (
    "INSERT INTO outbox (key, kind, payload, created_at) SELECT o.key, o.kind, o.payload, now()"
    " FROM (SELECT DISTINCT ON (key) key, kind, payload FROM outbox ORDER BY key) AS o,"
    f" generate_series(2, {EVENTS})"
)


@pytest.fixture
def users(tmp_path: Path) -> Iterator[list[Customer]]:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db"}
    with running("accounts", env) as accounts:
        yield [Customer(accounts) for _ in range(READERS + 1)]


class Stream:
    """Reads a user's stream of events, and counts them."""

    def __init__(self, service: Service, customer: Customer, **headers: str) -> None:
        parts = urlsplit(service.url)
        self._address = str(parts.hostname), int(parts.port or 80)
        lines = "".join(f"{name}: {text}\r\n" for name, text in (customer.headers | headers).items())
        self._request = f"GET /api/orders/events HTTP/1.1\r\nHost: drill\r\n{lines}\r\n".encode()
        self.is_open = asyncio.Event()
        self.has_event = asyncio.Event()
        self.orders: list[str] = []

    async def read(self) -> None:
        reader, writer = await asyncio.open_connection(*self._address, limit=1 << 20)
        try:
            writer.write(self._request)
            assert b" 200 " in await reader.readline()
            async for line in reader:
                if line.startswith(b":"):
                    self.is_open.set()
                elif line.startswith(b"data: "):
                    self.orders.append(json.loads(line[6:])["id"])
                    self.has_event.set()
        finally:
            writer.close()


async def _drill(service: Service, users: list[Customer]) -> tuple[list[float], list[float], list[int]]:
    *readers, other = users
    replays = [Stream(service, each, **{"Last-Event-ID": "0"}) for each in readers for _ in range(STREAMS)]
    live = Stream(service, other)
    posts: list[float] = []
    events: list[float] = []
    tasks = [asyncio.ensure_future(stream.read()) for stream in (live, *replays)]
    async with asyncio.timeout(200):
        await live.is_open.wait()
        await asyncio.gather(*(stream.is_open.wait() for stream in replays))
        for _ in range(ORDERS):
            began = time.monotonic()
            live.has_event.clear()
            placed = await asyncio.to_thread(other.place, service.client)
            posts.append(time.monotonic() - began)
            assert placed.status_code == 201, placed.text
            await live.has_event.wait()
            events.append(time.monotonic() - began)
            assert live.orders[-1] == placed.json()["id"]
        counts = [len(stream.orders) for stream in replays]
        # Every stream has its turns.
        await asyncio.gather(*(stream.has_event.wait() for stream in replays))
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return posts, events, counts


def test_replays_do_not_delay_another_user(users: list[Customer], postgres_url: str, capsys: Any) -> None:
    with users[0].running_orders(postgres_url) as service:
        for user in users[:-1]:
            assert user.place(service.client).status_code == 201
        execute(postgres_url, COPY, "ANALYZE outbox")
        assert value(postgres_url, "SELECT count(*) FROM outbox") == READERS * EVENTS

        posts, events, counts = asyncio.run(_drill(service, users))

        report(
            capsys,
            f"{len(counts)} replays of {EVENTS} events",
            slowest_order=f"{max(posts):.2f} s",
            slowest_live_event=f"{max(events):.2f} s",
            replayed_meanwhile=sum(counts),
        )
        # All orders were placed, and their events received, before any replay had ended.
        assert max(counts) < EVENTS
