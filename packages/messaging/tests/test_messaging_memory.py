"""Memory of a process that receives a flood of large events."""

from pathlib import Path

import pytest

from .messaging_shop import connected, event, outgoing, shop
from .test_messaging_processes import consumers, publisher, until_handled

pytestmark = pytest.mark.timeout(240)

_COUNT = 100
_BYTES = 800_000
_MOST_BYTES = 100_000_000
"""A batch of 2 MB, ten events that are handled, and those that are claimed ahead, each several times."""


def peak_bytes(pid: int) -> int:
    """Return the largest memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


async def test_a_flood_of_large_events_takes_little_memory(postgres_url: str, broker_url: str) -> None:
    async with (
        publisher(postgres_url, broker_url) as running,
        consumers(postgres_url, broker_url, 1) as [one],
    ):
        await running.publish(0)
        await until_handled(running, 1)
        before = peak_bytes(one.pid)
        async with connected(broker_url) as client:
            for number in range(1, _COUNT + 1):
                data = {"number": number, "note": "x" * _BYTES}
                body = event(number, event_id=f"large {number}", partitionkey=f"key {number}", data=data)
                await client.append("depot", [outgoing(body)])
        await until_handled(running, _COUNT + 1)
        grown = peak_bytes(one.pid) - before
    assert grown < _MOST_BYTES, f"{grown / 1e6:.0f} MB"


async def test_a_read_ends_after_two_megabytes(broker_url: str) -> None:
    async with connected(broker_url) as client:
        large = {"number": 0, "note": "x" * _BYTES}
        for number in range(6):
            await client.append("depot", [outgoing(event(number, data=large))])
            await client.append("depot", [outgoing(event(number))])
        counts, after = [], ""
        while entries := (await client.read("depot", after=after, limit=100, wait_s=0.0)).entries:
            counts.append(len(entries))
            after = entries[-1].position
    assert sum(counts) == 12
    # Two large ones, those between them, and the small one that fits as well.
    assert max(counts) <= 5


async def test_what_a_relay_claims_at_a_time_is_bounded(postgres_url: str, redis_url: str) -> None:
    """Also large events are published, in their order, several of which fit no claim."""
    async with shop(postgres_url, redis_url) as running:
        await running.execute(
            "INSERT INTO outbox (key, kind, payload, created_at)"
            " SELECT 'k', 'parcel.packed', json_build_object('number', n, 'note', repeat('x', 700000)), now()"
            " FROM generate_series(1, 9) AS n"
        )
        assert await running.until_handled(9) == list(range(1, 10))
