"""The command `events` on a running application and a broker of each kind."""

import io
import json
from argparse import ArgumentParser
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starkeel_db import BrokerUnavailableError
from starkeel_messaging import EventContext, on_event
from starkeel_messaging._brokers.base import Batch

from .messaging_shop import (
    PACKED,
    Packed,
    Shop,
    append,
    connected,
    count_parcel,
    event,
    outgoing,
    shop,
    write_effect,
)

pytestmark = pytest.mark.timeout(120)


async def run(running: Shop, *words: str) -> tuple[int, str]:
    """Run the command; return exit code and output."""
    parser = ArgumentParser()
    running.messaging.add_arguments(parser)
    output = io.StringIO()
    return await running.messaging.run_command(parser.parse_args(words), output), output.getvalue()


async def replay(running: Shop, start: str, *options: str) -> tuple[int, str]:
    return await run(running, "replay", "--topic", "depot", "--from", start, *options)


async def position(running: Shop) -> str:
    [row] = await running.execute("SELECT position FROM event_topics")
    return str(row.position)


@on_event("depot", PACKED, name="late")
async def late(context: EventContext, event: Packed) -> None:
    """Handle the events that were published before this handler was added."""
    await write_effect(context, 100 + event.number)


async def test_replayed_events_are_handled_by_new_handlers_only(database_url: str, broker_url: str) -> None:
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event(1))
        await running.until_handled(1)
        second_at = datetime.now(UTC).isoformat()
        await append(broker_url, event(2, event_id="2"), event(3, event_id="3"))
        await running.until_handled(3)
        last = await position(running)

    async with shop(database_url, broker_url, handlers=[count_parcel, late]) as running:
        code, output = await replay(running, second_at)
        assert (code, output[:12]) == (0, "depot: event"), output
        assert await running.until_handled(5) == [1, 2, 3, 102, 103]
        await append(broker_url, event(4, event_id="4"))
        assert sorted(await running.until_handled(7)) == [1, 2, 3, 4, 102, 103, 104]
        assert await position(running) != last


async def test_replayed_events_are_handled_again_on_demand(database_url: str, broker_url: str) -> None:
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event(1), b"{}", event(2, event_id="2"))
        await running.until_handled(2)
        last = await position(running)

        code, output = await replay(running, "2000-01-01T00:00:00Z", "--again")
        assert (code, output) == (0, output)
        assert output.startswith("depot: 2 events after ")
        assert await running.until_handled(4) == [1, 2, 1, 2]
        assert await replay(running, last, "--again") == (0, await again(1, running, last))
        assert await running.until_handled(5) == [1, 2, 1, 2, 2]


async def again(count: int, running: Shop, start: str) -> str:
    """Return the output of a replay from a position on."""
    assert running.messaging._client is not None
    before = await running.messaging._client.before("depot", start)
    return f"depot: {count} events after {before} are handled again\n"


async def test_topics_are_listed_with_what_waits(database_url: str, broker_url: str) -> None:
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event(1))
        await running.until_handled(1)
        [holder] = await running.execute("SELECT holder FROM event_topics")
    await append(broker_url, event(2, event_id="2"), event(3, event_id="3"))

    async with shop(database_url, broker_url, works=False) as running:
        code, output = await run(running, "list", "--json")
        topic = json.loads(output)
        assert (code, topic["topic"], topic["holder"], topic["waiting"]) == (0, "depot", None, 2)
        assert topic["position"] == await position(running)
        code, table = await run(running, "list")
    assert [line.split()[:1] for line in table.splitlines()] == [["topic"], ["depot"]]
    assert table.splitlines()[1].split()[2:4] == ["-", "2"]
    assert holder[0] is not None


async def test_replays_of_deleted_events_begin_with_the_oldest_one(
    postgres_url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import redis

    async with shop(postgres_url, redis_url) as running:
        await append(redis_url, event(1), event(2, event_id="2"))
        await running.until_handled(2)
        with redis.Redis.from_url(redis_url) as server:
            server.xtrim("events:depot", maxlen=1, approximate=False)

        code, _ = await replay(running, "2000-01-01T00:00:00Z", "--again")
        assert code == 0
        assert await running.until_handled(3) == [1, 2, 2]
    assert "the broker has deleted some of these events\n" in capsys.readouterr().err


async def test_an_interrupted_replay_goes_on(
    postgres_url: str, broker_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of them are read together.
    count, note = 7, "x" * 700_000
    async with connected(broker_url) as client:
        for number in range(count):
            body = event(number, event_id=str(number), data={"number": number, "note": note})
            await client.append("depot", [outgoing(body, str(number))])
    async with shop(postgres_url, broker_url, handlers=[count_parcel, late]) as running:
        await running.until_handled(2 * count)
        given = running.messaging._client
        assert given is not None
        reads = iter([True, True, False])

        async def fail_later(*arguments: Any, **options: Any) -> Batch:
            if not next(reads):
                raise BrokerUnavailableError("it was stopped")
            async with connected(broker_url) as other:
                return await other.read(*arguments, **options)

        await running.messaging.drain(lambda: 30.0)
        monkeypatch.setattr(given, "read", fail_later)
        assert await replay(running, "2000-01-01T00:00:00Z", "--again") == (1, "")
        monkeypatch.undo()
        first, *_, last, problem = capsys.readouterr().err.splitlines()
        assert first.startswith("depot: 0 events (0%) are handled again; interrupted here, it goes on with ")
        assert last.startswith("2 events are handled again; go on with: events replay --topic depot --from ")
        assert problem == "events replay: the broker is away: it was stopped"

        code, output = await run(running, *last.partition("go on with: events ")[2].split())
        # With the event at which it begins, which is not handled again.
        assert (code, output.partition(" after ")[0]) == (0, "depot: 6 events"), output
        again = ["replay", "--topic", "depot", *first.partition("goes on with")[2].split()]
        assert (await run(running, *again))[0] == 0, "from its beginning"
        await running.until_done()
        handled = Counter(await running.effects())
    each = Counter([*range(count), *range(100, 100 + count)])
    assert handled == each + each


async def test_mistakes_are_named(
    database_url: str, broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    mistakes = {
        "yesterday": "--from: 'yesterday' is no position in the topic, nor a time like",
        "-5": "is no position in the topic",
        "1" * 30: "is no position in the topic",
        "2026-01-31T25:00:00Z": "--from: '2026-01-31T25:00:00Z' is no time like",
        "2026-01-31T12:00:00": "has no time zone",
        tomorrow: "is in the future",
    }
    async with shop(database_url, broker_url, works=False) as running:
        assert await replay(running, "1") == (1, "")
        assert "no event of 'depot' has been received yet" in capsys.readouterr().err
        await running.execute("INSERT INTO event_topics (topic, position, broker) VALUES ('depot', '7', '')")
        for start, problem in mistakes.items():
            assert await run(running, "replay", "--topic", "depot", f"--from={start}") == (2, "")
            error = capsys.readouterr().err
            assert problem in error
            assert error.startswith("events replay: ")
            assert error.count("\n") == 1


async def test_a_time_after_the_last_event_is_refused(
    database_url: str, broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event(1))
        await running.until_handled(1)
        assert await replay(running, (datetime.now(UTC)).isoformat()) == (2, "")
        assert "no event of 'depot' has been received since" in capsys.readouterr().err
        assert await run(running, "replay", "--topic", "shop", "--from", "1") == (2, "")
        assert "--topic: 'shop' is none of the topics: depot" in capsys.readouterr().err
