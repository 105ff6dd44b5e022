"""Waiting for the database at start, and the errors if it is unavailable."""

import asyncio
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg  # type: ignore[import-untyped]
import pytest
from starkeel_db import DatabaseUnreachableError, NotADatabaseError
from starkeel_db._driver.sqlite import sqlite_opener

from .conftest import Package, until


async def test_an_available_database_is_connected_at_once(
    package: Package, database_url: str, logged: list[Any]
) -> None:
    await package.plugin(database_url).connect()

    assert logged == []  # a failed attempt would be logged


async def test_an_unreachable_database_times_out(package: Package, free_port: int, logged: list[Any]) -> None:
    url = f"postgresql://starkeel:hunter2@127.0.0.1:{free_port}/orders"

    with pytest.raises(DatabaseUnreachableError) as caught:
        await package.plugin(url, startup_timeout_s=0.5).connect()

    assert caught.value.exit_code == 69
    for part in ("DATABASE_URL", f"127.0.0.1:{free_port}", "orders", "DB_STARTUP_TIMEOUT_SECONDS"):
        assert part in str(caught.value)
    attempts = [entry for entry in logged if entry["event"] == "database not connected"]
    assert attempts
    assert {entry["log_level"] for entry in attempts} == {"warning"}
    assert "hunter2" not in str(caught.value) + str(logged)


async def test_a_server_that_never_answers_times_out(package: Package) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with asyncio.timeout(20):
            with pytest.raises(DatabaseUnreachableError, match="does not answer"):
                await package.plugin(f"postgresql://u@127.0.0.1:{port}/x", startup_timeout_s=0.5).connect()


async def test_a_database_that_appears_later_is_waited_for(
    package: Package, postgres_url: str, logged: list[Any]
) -> None:
    server, _, name = postgres_url.rpartition("/")
    late = f"{name.partition('?')[0]}_late"
    connecting = asyncio.create_task(package.plugin(f"{server}/{late}", startup_timeout_s=30).connect())
    # The first attempt must have failed.
    await until(lambda: logged)
    assert not connecting.done()

    watcher = await asyncpg.connect(postgres_url)
    try:
        await watcher.execute(f'CREATE DATABASE "{late}"')
        await asyncio.wait_for(connecting, 30)
        await watcher.execute(f'DROP DATABASE "{late}" WITH (FORCE)')
    finally:
        await watcher.close()


async def test_an_unknown_database_is_reported(package: Package, postgres_url: str) -> None:
    url = f"{postgres_url.rpartition('/')[0]}/nowhere"

    with pytest.raises(DatabaseUnreachableError, match="the database does not exist"):
        await package.plugin(url, startup_timeout_s=0.2).connect()


async def test_a_file_that_is_not_a_database_is_refused_at_once(package: Package, tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_bytes(b"not an SQLite database" * 200)

    with pytest.raises(NotADatabaseError, match="not an SQLite database") as caught:
        await package.plugin(f"sqlite:///{path}", startup_timeout_s=60).connect()

    assert caught.value.exit_code == 65
    assert path.read_bytes().startswith(b"not an SQLite database")


async def test_a_file_that_cannot_be_opened_is_refused_at_once(package: Package, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DatabaseUnreachableError, match="cannot be opened"):
        await package.plugin(f"sqlite:///{tmp_path}/file/orders.db", startup_timeout_s=60).connect()


@pytest.mark.parametrize("folder", ["datta", ".data/deep", "deep/.data"])
def test_a_folder_that_does_not_exist_is_reported_and_not_created(
    package: Package, tmp_path: Path, folder: str
) -> None:
    path = tmp_path / folder / "orders.db"

    with pytest.raises(DatabaseUnreachableError) as raised:
        asyncio.run(package.plugin(f"sqlite:///{path}", startup_timeout_s=60).connect())

    assert f"the folder {path.parent} does not exist; correct DATABASE_URL" in str(raised.value)
    assert list(tmp_path.rglob("*data*")) == list(tmp_path.rglob("deep")) == []


async def test_an_sqlite_file_is_created_with_the_default_folder_in_wal_mode(
    package: Package, tmp_path: Path
) -> None:
    path = tmp_path / ".data" / "orders.db"
    package.add("0001_things", 'op.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")')
    plugin = package.plugin(f"sqlite:///{path}")

    await plugin.connect()
    await plugin.migrate()

    assert stat.S_ISREG(path.stat().st_mode)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_features_for_the_start_log(package: Package) -> None:
    plugin = package.plugin("postgresql://orders:hunter2@db.example.com:6000/orders", run_migrations=False)

    assert list(plugin.features()) == [
        ("database", True, "postgresql at db.example.com:6000/orders"),
        ("migrations at start", False, "RUN_MIGRATIONS is false"),
    ]


async def test_a_wrong_password_is_reported(package: Package, postgres_url: str) -> None:
    watcher = await asyncpg.connect(postgres_url)
    try:
        trusts = await watcher.fetchval("SELECT bool_and(auth_method = 'trust') FROM pg_hba_file_rules")
    finally:
        await watcher.close()
    host, port = _address(postgres_url)
    name = postgres_url.rpartition("/")[2].partition("?")[0]
    expected = "may not connect|password is wrong|does not exist" if trusts else "password is wrong"

    with pytest.raises(DatabaseUnreachableError, match=expected):
        await package.plugin(
            f"postgresql://nobody:hunter2@{host}:{port}/{name}", startup_timeout_s=3
        ).connect()


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.partition("@")[2].partition("/")[0].partition(":")
    return host, int(port or 5432)


async def test_a_new_file_can_be_opened_concurrently(tmp_path: Path) -> None:
    for number in range(40):
        open_one = sqlite_opener(tmp_path / f"{number}.db", busy_timeout_s=5)
        opened = await asyncio.gather(*(open_one() for _ in range(8)), return_exceptions=True)
        for connection in opened:
            assert isinstance(connection, aiosqlite.Connection)
            await connection.close()


@pytest.mark.parametrize(
    ("url", "unused"),
    [
        ("postgresql://ada@localhost/shop", {"aiosqlite", "sqlite3", "sqlalchemy.dialects.sqlite"}),
        ("sqlite:///shop.db", {"asyncpg"}),
    ],
)
def test_only_the_driver_in_use_is_imported(url: str, unused: set[str]) -> None:
    code = f"""
import sys
from datetime import timedelta
from litestar import Litestar
from sqlalchemy import MetaData
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, IdempotencyKeys, Outbox
from starkeel_db._engine.database import Database

settings, metadata, hour = DatabaseSettings(url=Secret({url!r})), MetaData(), timedelta(hours=1)
database = DatabasePlugin(settings, metadata=metadata, migrations="orders.migrations")
plugins = [
    database,
    Outbox(database, metadata=metadata, retention=hour),
    IdempotencyKeys(database, metadata=metadata, lifetime=hour),
]
Litestar(plugins=plugins)
Database(settings, database._share, name="shop")
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert not {*unused, "alembic"} & set(done.stdout.split())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"N" + bytes(64), b"\xff" * 64])
async def test_a_server_that_is_no_postgresql_is_reported(package: Package, answer: bytes) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        plugin = package.plugin(f"postgresql://starkeel:hunter2@127.0.0.1:{port}/shop", startup_timeout_s=0.2)

        with pytest.raises(DatabaseUnreachableError, match=str(port)) as caught:
            await plugin.connect()

    assert "hunter2" not in str(caught.value)
