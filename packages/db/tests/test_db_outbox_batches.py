"""Events that a broker accepts several at a time."""

from collections.abc import Sequence

import pytest
from starkeel_db import BrokerUnavailableError, Event

from .conftest import until
from .outbox_process import Shelf, boxes


class Batches(Shelf):
    """A broker that accepts several events at once, all or none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    async def publish_all(self, events: Sequence[Event]) -> None:
        if self.is_unavailable:
            raise BrokerUnavailableError("down")
        if any(event.payload in self.refuses for event in events):
            raise ValueError("not all of them")
        self.got += events
        self.batches.append([event.payload for event in events])


async def test_a_claim_is_published_at_once(database_url: str) -> None:
    broker = Batches()
    async with boxes(database_url, broker=broker) as [box]:
        await box.add("ada", *(str(number) for number in range(50)))
        await until(lambda: len(broker.got) >= 50)
    assert broker.batches == [[str(number) for number in range(50)]]


async def test_large_events_are_published_in_parts(database_url: str) -> None:
    broker = Batches()
    large = [f'"{number}{"x" * 400_000}"' for number in range(4)]
    async with boxes(database_url, broker=broker) as [box]:
        await box.add("ada", *large, "1", "2")
        await until(lambda: len(broker.got) >= 6)
    assert broker.batches == [large[:2], [*large[2:], "1", "2"]]


@pytest.mark.parametrize("refused", ["0", "3", "9"])
async def test_a_refused_event_of_a_batch_holds_back_its_key_only(database_url: str, refused: str) -> None:
    broker = Batches()
    broker.is_unavailable = True
    broker.refuses.add(refused)
    async with boxes(database_url, broker=broker) as [box]:
        for number in range(10):
            await box.add(f"key {number % 2}", str(number))
        broker.is_unavailable = False
        allowed = [str(n) for n in range(10) if n < int(refused) or n % 2 != int(refused) % 2]
        await until(lambda: len(broker.got) >= len(allowed))
        assert [event.payload for event in broker.got] == allowed
        broker.refuses.clear()
        await box.execute("UPDATE outbox SET retry_at = NULL WHERE published_at IS NULL")
        await until(lambda: len(broker.got) >= 10)
    for key in range(2):
        numbers = [int(event.payload) for event in broker.got if event.key == f"key {key}"]
        assert numbers == list(range(key, 10, 2))
