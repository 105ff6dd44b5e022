"""Events about users, as they arrive at a broker of each kind, from each database."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from accounts.app import create_app
from accounts.emails import EmailAddress
from accounts.passwords import PasswordHashing
from accounts.security_events import SecurityEvents
from accounts.settings import Settings
from accounts.users import User, Users
from sqlalchemy import text
from starkeel_config import load
from starkeel_db import DatabasePlugin
from starkeel_messaging import MessagingPlugin
from starkeel_testing import Service, running, wait_until

SignUp = Callable[[Service], Any]
Read = Callable[[], list[dict[str, Any]]]

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(params=["redis", "sqlite"])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'broker.db'}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def published(broker_url: str) -> Read:
    """Return the events of accounts on the broker."""

    def read() -> list[dict[str, Any]]:
        if broker_url.startswith("sqlite"):
            path = broker_url.removeprefix("sqlite:///")
            # The first event creates the table.
            with closing(sqlite3.connect(path, timeout=10)) as connection, suppress(sqlite3.OperationalError):
                found = connection.execute("SELECT body FROM events WHERE topic = 'accounts'").fetchall()
                return [json.loads(body) for (body,) in found]
            return []
        with closing(redis.Redis.from_url(broker_url)) as client:
            entries: Any = client.xrange("events:accounts")
            return [json.loads(fields[b"event"]) for _, fields in entries]

    return read


def test_a_registration_and_a_deactivation_are_published(
    database_url: str, broker_url: str, published: Read, sign_up: SignUp, make: Any, body: Any
) -> None:
    with running("accounts", {"DATABASE_URL": database_url, "BROKER_URL": broker_url}) as service:
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "of-the-test"}
        request = make.sign_up.build()
        created = service.client.post("/api/users", json=body(request), headers=headers)
        # Neither this registration, nor this deactivation, takes place.
        assert service.client.post("/api/users", json=body(request)).status_code == 409
        other = sign_up(service)
        wrong = service.client.request(
            "DELETE", "/api/users/me", headers=other.headers, json={"password": "an orchard of bells"}
        )
        assert wrong.status_code == 403
        gone = service.client.request(
            "DELETE", "/api/users/me", headers=other.headers, json={"password": other.password}
        )
        assert gone.status_code == 204
        wait_until(lambda: len(published()) >= 3, timeout_s=30)

        events = published()
        output = service.output()

    assert [(event["type"], event["data"], event["partitionkey"]) for event in events] == [
        ("user.created", {"user_id": created.json()["id"]}, created.json()["id"]),
        ("user.created", {"user_id": other.id}, other.id),
        ("user.deactivated", {"user_id": other.id}, other.id),
    ]
    assert {event["source"] for event in events} == {"/services/accounts"}
    assert events[0]["requestid"] == "of-the-test"
    assert TRACE in events[0]["traceparent"]
    assert "@" not in json.dumps(events), "an address is in an event"
    assert "publishing events (BROKER_URL is set)" in output


def test_events_are_published_when_the_broker_is_back(
    database_url: str, own_redis: Any, sign_up: SignUp
) -> None:
    own_redis.kill()
    with running("accounts", {"DATABASE_URL": database_url, "BROKER_URL": own_redis.url}) as service:
        person = sign_up(service)
        own_redis.start()

        def arrived() -> list[Any]:
            with closing(redis.Redis.from_url(own_redis.url)) as client:
                found: list[Any] = client.xrange("events:accounts")  # type: ignore[assignment]  # not a coroutine
                return found

        [(_, fields)] = wait_until(arrived, timeout_s=60)

    assert json.loads(fields[b"event"])["data"] == {"user_id": person.id}


async def test_nothing_is_published_after_a_rollback(
    database_url: str, broker_url: str, published: Read
) -> None:
    environ = {"ENVIRONMENT": "development", "DATABASE_URL": database_url, "BROKER_URL": broker_url}
    app = create_app(load(Settings, environ, service="accounts"))
    database, messaging = app.plugins.get(DatabasePlugin), app.plugins.get(MessagingPlugin)
    await database.migrate()
    async with app.lifespan():

        async def sign_up(email: str, *, fails: bool) -> None:
            async with database.session() as session:
                users = Users(session, PasswordHashing(), SecurityEvents(lambda: b"key"), messaging)
                await users.sign_up(EmailAddress.parse(email), "a wagon full of clocks")
                if fails:
                    raise RuntimeError("after the registration")

        with pytest.raises(RuntimeError):
            await sign_up("ada@example.com", fails=True)
        await sign_up("bob@example.com", fails=False)
        async with asyncio.timeout(30):
            while not (events := await asyncio.to_thread(published)):  # noqa: ASYNC110 - there is no signal
                await asyncio.sleep(0.02)
        async with database.session(reads_only=True) as session:
            rows = (await session.execute(text("SELECT kind FROM outbox"))).all()
            [bob] = (await session.scalars(User.__table__.select().with_only_columns(User.id))).all()

    assert [event["data"] for event in events] == [{"user_id": str(bob)}]
    assert len(rows) == 1
