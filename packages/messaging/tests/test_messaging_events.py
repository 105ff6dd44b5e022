"""Events that are published and handled, on each broker."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.exceptions import ImproperlyConfiguredException
from opentelemetry import trace
from sqlalchemy import MetaData
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, OutboxPlugin
from starkeel_messaging import EventContext, EventType, MessagingPlugin, MessagingSettings, on_event
from structlog.contextvars import bound_contextvars

from .messaging_shop import PACKED, Packed, append, count_parcel, event, shop, until, write_effect

pytestmark = pytest.mark.timeout(120)


async def test_an_event_is_handled_after_its_commit(database_url: str, broker_url: str) -> None:
    async with shop(database_url, broker_url) as running:
        await running.publish(1, 2, 3)

        assert await running.until_handled(3) == [1, 2, 3]
        [*rows] = await running.execute("SELECT source, key FROM effects")
    assert set(rows) == {("/services/depot", "k")}


async def test_an_event_of_a_rolled_back_unit_of_work_is_not_published(
    database_url: str, broker_url: str
) -> None:
    async with shop(database_url, broker_url) as running:

        async def fail() -> None:
            async with running.database.session() as session:
                await running.messaging.publish(session, PACKED, Packed(1), key="k")
                raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            await fail()
        await running.publish(2)

        assert await running.until_handled(1) == [2]


async def test_an_event_that_is_received_again_is_not_handled_again(
    database_url: str, broker_url: str
) -> None:
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event(1), event(1), event(2, event_id="2"), event(1))

        assert await running.until_handled(2) == [1, 2]
        await append(broker_url, event(1), event(3, event_id="3"))
        assert await running.until_handled(3) == [1, 2, 3]


async def test_what_was_published_while_a_consumer_was_away_is_handled(
    database_url: str, broker_url: str
) -> None:
    await append(broker_url, event(1))
    async with shop(database_url, broker_url) as running:
        assert await running.until_handled(1) == [1]
    await append(broker_url, event(2, event_id="2"))

    async with shop(database_url, broker_url) as running:
        assert await running.until_handled(2) == [1, 2]


async def test_malformed_entries_are_reported_and_do_not_stop_the_others(
    database_url: str, broker_url: str, logged: list[Any]
) -> None:
    malformed = [b"", b"\xff\xfe", b"{}", b"[1]", event(7, id=3), event(7, specversion="2.0")]
    malformed += [event(7, datacontenttype="text/plain"), event(7, partitionkey="k" * 201)]
    malformed += [event(7, **{name: "a\0b"}) for name in ("partitionkey", "requestid", "traceparent")]
    malformed.append(event(7, data={"number": 7, "note": "x" * 1_000_000}))
    async with shop(database_url, broker_url) as running:
        await append(broker_url, *malformed, event(1))

        assert await running.until_handled(1) == [1]
    lines = [line for line in logged if line["event"] == "event is malformed"]
    assert len(lines) == len(malformed)
    assert lines[4]["reason"] == "Expected `str`, got `int` - at `$.id`"


async def test_data_that_does_not_fit_fails_at_once_with_the_name_of_the_field(
    database_url: str, broker_url: str
) -> None:
    async with shop(database_url, broker_url) as running:
        await append(broker_url, event("hunter2"), event(1, event_id="2"))

        assert await running.until_handled(1) == [1]
        [failed] = await running.jobs.records(state="failed")
    assert failed.attempts == 1
    assert failed.error is not None
    assert "parcel.packed" in failed.error
    assert "$.number" in failed.error
    assert "hunter2" not in failed.error


async def test_events_of_other_types_are_skipped_and_unknown_fields_ignored(
    database_url: str, broker_url: str
) -> None:
    async with shop(database_url, broker_url) as running:
        other = event(5, type="parcel.lost")
        await append(broker_url, other, event(1, event_id="2", data={"number": 1, "weight": 3}, comment="x"))

        assert await running.until_handled(1) == [1]
        assert len(await running.jobs.records()) == 1


async def test_a_retried_event_holds_back_later_ones_of_its_key_only(
    database_url: str, broker_url: str
) -> None:
    allowed = asyncio.Event()
    attempts: list[int] = []

    @on_event("depot", PACKED, name="picky", attempts=50)
    async def picky(context: EventContext, event: Packed) -> None:
        if event.number == 1 and not allowed.is_set():
            attempts.append(context.attempt)
            raise ValueError
        await write_effect(context, event.number)

    async with shop(database_url, broker_url, handlers=[picky]) as running:
        await running.publish(1, 2, key="poisoned")
        await running.publish(11, 12, key="healthy")
        await until(lambda: attempts)

        assert await running.until_handled(2) == [11, 12]
        allowed.set()
        assert await running.until_handled(4) == [11, 12, 1, 2]


async def test_each_handler_of_a_type_handles_the_event(database_url: str, broker_url: str) -> None:
    @on_event("depot", PACKED, name="twin")
    async def twin(context: EventContext, event: Packed) -> None:
        await write_effect(context, -event.number)

    async with shop(database_url, broker_url, handlers=[count_parcel, twin]) as running:
        await running.publish(1)

        assert sorted(await running.until_handled(2)) == [-1, 1]


async def test_a_handler_has_the_request_id_and_the_trace_of_the_publisher(
    database_url: str, broker_url: str, logged: list[Any]
) -> None:
    span = trace.NonRecordingSpan(
        trace.SpanContext(0x1234, 0x56, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    async with shop(database_url, broker_url) as running:
        with trace.use_span(span), bound_contextvars(request_id="request-7"):
            await running.publish(1)
        await running.until_handled(1)
        await until(lambda: [line for line in logged if line["event"] == "job succeeded"])
        [row] = await running.execute("SELECT traceparent FROM jobs")
    [line] = [line for line in logged if line["event"] == "job succeeded"]
    assert line["request_id"] == "request-7"
    assert row.traceparent.split("-")[1] == f"{0x1234:032x}"


async def test_a_process_whose_work_is_disabled_receives_nothing(database_url: str, broker_url: str) -> None:
    async with shop(database_url, broker_url, works=False) as running:
        await running.publish(1)
        await running.publish(2)

        assert await running.execute("SELECT * FROM event_topics") == []
        assert await running.effects() == []


async def test_a_missing_plugin_is_named(tmp_path: Any) -> None:
    database = DatabasePlugin(
        DatabaseSettings(url=Secret(f"sqlite:///{tmp_path / 'x.db'}")), metadata=MetaData(), migrations="none"
    )
    settings = MessagingSettings()

    with pytest.raises(ImproperlyConfiguredException, match=r"OutboxPlugin.*to publish events"):
        Litestar([], plugins=[database, MessagingPlugin(settings, service="depot", publishes=[PACKED])])
    with pytest.raises(ImproperlyConfiguredException, match=r"JobsPlugin.*to handle events"):
        Litestar(
            [],
            plugins=[
                database,
                OutboxPlugin(retention=timedelta(days=1)),
                MessagingPlugin(settings, service="depot", handlers=[count_parcel]),
            ],
        )


async def test_only_declared_types_are_published(database_url: str, broker_url: str) -> None:
    undeclared = EventType("parcel.packed", Packed)
    async with shop(database_url, broker_url) as running, running.database.session() as session:
        with pytest.raises(LookupError, match=r"'parcel\.packed' is not in `publishes`"):
            await running.messaging.publish(session, undeclared, Packed(1), key="k")


async def test_large_data_is_refused(database_url: str, broker_url: str) -> None:
    large = EventType("parcel.described", str)
    async with shop(database_url, broker_url) as running, running.database.session() as session:
        running.messaging.publishes = {large.name: large}
        with pytest.raises(ValueError, match="larger than 800000 bytes"):
            await running.messaging.publish(session, large, "x" * 800_001, key="k")


def test_types_have_short_names() -> None:
    with pytest.raises(ValueError, match="at most 64 characters"):
        EventType("x" * 65, Packed)
    with pytest.raises(ValueError, match="the same name"):
        MessagingPlugin(MessagingSettings(), service="depot", publishes=[PACKED, PACKED])


@pytest.mark.parametrize(
    ("url", "environment", "problem"),
    [
        ("redis://localhost", "production", None),
        ("sqlite:///events.db", "development", None),
        ("sqlite:///events.db", "production", "is a file, which serves development"),
        ("sqlite://", "development", "has no path"),
        ("kafka://localhost", "production", "is no URL of a broker"),
        ("redis://:secret@[::1", "production", "is no URL of a broker"),
        ("redis://a,b", "production", "names several hosts"),
        ("nats://user:secret@localhost:4222?replicas=3", "production", None),
        ("tls://localhost", "production", None),
        ("nats://secret@", "production", "is malformed"),
        ("nats://:secret@localhost:x", "production", "is malformed"),
        ("nats://localhost?replicas=2", "production", "has a query that is not replicas=1, 3 or 5"),
        ("nats://localhost?token=secret", "production", "has a query that is not replicas=1, 3 or 5"),
    ],
)
def test_urls_are_checked(url: str, environment: Any, problem: str | None) -> None:
    problems = list(MessagingSettings(broker_url=Secret(url)).problems(environment))

    assert [each.variable for each in problems] == ([] if problem is None else ["BROKER_URL"])
    assert all(problem is not None and problem in each.wrong for each in problems)
    assert "secret" not in repr(problems)
