"""Migrations are applied once, atomically, by one process."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table
from starkeel_config import Secret
from starkeel_db import (
    DatabasePlugin,
    DatabaseSettings,
    MigrationError,
    NewerDatabaseError,
    SchemaBehindError,
)

from .conftest import Package, until

CREATE = 'op.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")'


async def tables(url: str) -> set[str]:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        connection.close()
    else:
        watcher = await asyncpg.connect(url)
        rows = await watcher.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        await watcher.close()
    return {row[0] for row in rows}


async def test_missing_migrations_are_applied_and_counted(package: Package, database_url: str) -> None:
    package.add("0001_things", CREATE)
    package.add("0002_more", 'op.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")')
    plugin = package.plugin(database_url)

    assert await plugin.migrate() == 2
    assert await plugin.migrate() == 0
    assert {"things", "more"} <= await tables(database_url)


async def test_a_service_without_migrations_applies_none(package: Package, database_url: str) -> None:
    assert await package.plugin(database_url).migrate() == 0


async def test_a_failed_migration_is_named_and_rolled_back(package: Package, database_url: str) -> None:
    package.add("0001_good", CREATE)
    plugin = package.plugin(database_url)
    await plugin.migrate()
    package.add(
        "0002_bad", 'op.execute("CREATE TABLE half (id INTEGER)")', 'op.execute("SELECT * FROM nowhere")'
    )

    with pytest.raises(MigrationError, match="0002_bad") as caught:
        await package.plugin(database_url).migrate()

    assert caught.value.exit_code == 65
    assert "nowhere" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "half" not in await tables(database_url)


async def test_a_contracted_database_is_refused_in_any_case(package: Package, database_url: str) -> None:
    package.add("0001_things", CREATE)
    newest = package.add("0002_more", 'op.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")')
    with (package.folder / f"{newest}.py").open("a") as file:
        file.write("\ncontracting = True\n")
    await package.plugin(database_url).migrate()
    (package.folder / f"{newest}.py").unlink()

    for run_migrations in (True, False):
        with pytest.raises(NewerDatabaseError, match="0002_more") as caught:
            await package.plugin(database_url, run_migrations=run_migrations).migrate(at_start=True)
        assert caught.value.exit_code == 65


async def test_several_heads_are_refused(package: Package, database_url: str) -> None:
    package.add("0001_things", CREATE)
    text = (package.folder / "0001_things.py").read_text()
    (package.folder / "0001_other.py").write_text(text.replace("0001_things", "0001_other"))

    with pytest.raises(MigrationError, match="several heads"):
        await package.plugin(database_url).migrate()


async def test_concurrent_processes_apply_each_migration_once(package: Package, database_url: str) -> None:
    package.add("0001_things", CREATE)
    slow = {"sqlite": "SELECT 1", "postgresql": "SELECT pg_sleep(0.3)"}[database_url.partition(":")[0]]
    package.add("0002_slow", f'op.execute("{slow}")')

    applied = await asyncio.gather(*(package.plugin(database_url).migrate() for _ in range(4)))

    assert sorted(applied) == [0, 0, 0, 2]


async def test_an_index_can_be_built_concurrently_while_other_processes_wait(
    package: Package, postgres_url: str
) -> None:
    package.add("0001_things", CREATE)
    await package.plugin(postgres_url).migrate()
    package.add(
        "0002_index",
        "with op.get_context().autocommit_block():",
        '    op.execute("CREATE INDEX CONCURRENTLY ix_things ON things (id)")',
    )

    async with asyncio.timeout(30):
        applied = await asyncio.gather(*(package.plugin(postgres_url).migrate() for _ in range(4)))

    assert sorted(applied) == [0, 0, 0, 1]


async def test_a_cancelled_migration_is_rolled_back(
    package: Package, database_url: str, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    endless = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "postgresql": "SELECT pg_sleep(3600)",
    }[database_url.partition(":")[0]]
    steps = ('op.execute("CREATE TABLE half (id INTEGER)")', f'open("{begun}", "w").close()')
    package.add("0001_slow", *steps, f'op.execute("{endless}")')
    migrating = asyncio.create_task(package.plugin(database_url).migrate())
    await until(begun.exists)

    migrating.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await migrating

    assert "half" not in await tables(database_url)
    # It holds no lock: a corrected migration is applied at once.
    (package.folder / "0001_slow.py").unlink()
    package._last = None
    package.add("0001_quick", CREATE)
    async with asyncio.timeout(10):
        assert await package.plugin(database_url).migrate() == 1


async def test_a_migration_that_waits_for_a_table_lock_times_out(package: Package, postgres_url: str) -> None:
    package.add("0001_things", CREATE)
    await package.plugin(postgres_url).migrate()
    package.add("0002_column", 'op.execute("ALTER TABLE things ADD COLUMN name text")')
    holder = await asyncpg.connect(postgres_url)
    try:
        await holder.execute("BEGIN; LOCK TABLE things")
        with pytest.raises(MigrationError, match="another transaction uses the table"):
            await package.plugin(postgres_url).migrate()
    finally:
        await holder.close()


async def test_a_migration_that_leaves_dangling_foreign_keys_fails(package: Package, tmp_path: Any) -> None:
    package.add(
        "0001_shelves",
        'op.execute("CREATE TABLE shelves (id INTEGER PRIMARY KEY)")',
        'op.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, shelf INTEGER REFERENCES shelves (id))")',
        'op.execute("INSERT INTO books VALUES (1, 404)")',
    )
    url = f"sqlite:///{tmp_path}/shop.db"

    with pytest.raises(MigrationError, match="books refers to a row of shelves"):
        await package.plugin(url).migrate()
    assert not {"shelves", "books"} & await tables(url)


async def test_a_service_that_does_not_migrate_is_ready_once_another_process_has_migrated(
    package: Package, database_url: str
) -> None:
    from litestar import Litestar

    package.add("0001_things", CREATE)
    plugin = package.plugin(database_url, run_migrations=False)
    assert await plugin.migrate(at_start=True) is None

    async with Litestar([], plugins=[plugin]).lifespan():
        with pytest.raises(SchemaBehindError, match="0001_things") as caught:
            await plugin.check_ready()
        assert caught.value.missing == ["0001_things"]
        assert f"`python -m {package.name.removesuffix('.migrations')} migrate`" in str(caught.value)

        await package.plugin(database_url).migrate()
        await plugin.check_ready()


async def test_a_newer_schema_does_not_make_a_running_process_unready(
    package: Package, database_url: str
) -> None:
    from litestar import Litestar

    package.add("0001_things", CREATE)
    newest = package.add("0002_more", 'op.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")')
    await package.plugin(database_url).migrate()
    (package.folder / f"{newest}.py").unlink()
    plugin = package.plugin(database_url)

    async with Litestar([], plugins=[plugin]).lifespan():
        await plugin.check_ready()


def test_a_revision_is_written_from_the_models(package: Package, database_url: str) -> None:
    naming = {"fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s", "pk": "pk_%(table_name)s"}
    metadata = MetaData(naming_convention=naming)
    Table("shelves", metadata, Column("id", Integer, primary_key=True))
    plugin = package.plugin(database_url, metadata)

    (first,) = plugin.revision("Create shelves!")
    assert first == package.folder / "0001_create_shelves.py"
    assert asyncio.run(plugin.migrate()) == 1

    Table(
        "books",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("title", String(80), nullable=False),
        Column("shelf_id", ForeignKey("shelves.id")),
    )
    with_books = package.plugin(database_url, metadata)
    (second,) = with_books.revision("create books")
    text = second.read_text()
    assert '"""Create books."""' in text
    assert 'down_revision = "0001_create_shelves"' in text
    assert "fk_books_shelf_id_shelves" in text
    service = package.name.removesuffix(".migrations")
    with pytest.raises(SchemaBehindError, match=f"0002_create_books: run `python -m {service} migrate`"):
        with_books.revision("too early")
    assert asyncio.run(with_books.migrate()) == 1

    assert with_books.revision("nothing") == []
    (third,) = with_books.revision("only data", empty=True)
    assert sorted(path.name for path in package.folder.glob("0*.py")) == [first.name, second.name, third.name]
    assert "op." not in third.read_text().partition("def upgrade")[2]


async def test_services_can_share_a_database(package: Package, database_url: str) -> None:
    package.add("0001_create_tools", 'op.execute("CREATE TABLE tools (id INTEGER)")')
    settings = DatabaseSettings(url=Secret(database_url), min_connections=0)
    orders = DatabasePlugin(settings, metadata=MetaData(), migrations="orders.migrations")

    for plugin in (package.plugin(database_url), orders):
        assert await plugin.migrate() > 0
        assert await plugin.migrate() == 0

    assert {"tools", "orders"} <= await tables(database_url)
