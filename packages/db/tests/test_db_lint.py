"""Migrations are rendered as SQL and checked for blocking operations before they run."""

from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table
from starkeel_db import DatabasePlugin

from .conftest import Package

CREATE = 'op.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(10))")'


async def test_the_sql_of_missing_migrations_is_rendered_and_not_run(
    package: Package, database_url: str
) -> None:
    package.add("0001_things", CREATE)
    plugin = package.plugin(database_url)
    await plugin.migrate()
    package.add("0002_more", 'op.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")')
    plugin = package.plugin(database_url)

    sql = await plugin.migration_sql()

    assert "CREATE TABLE more" in sql
    assert "0002_more" in sql
    assert "CREATE TABLE things" not in sql
    assert await plugin.migrate() == 1
    assert await plugin.migration_sql() == ""


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('op.create_index("ix", "things", ["name"])', "CONCURRENTLY"),
        ('op.drop_index("ix", "things")', "CONCURRENTLY"),
        ('op.execute("ALTER TABLE things ADD COLUMN size INTEGER NOT NULL")', "default"),
        ('op.execute("ALTER TABLE things ALTER COLUMN name TYPE TEXT")', "rewrites"),
        ('op.execute("ALTER TABLE things ALTER COLUMN name SET NOT NULL")', "null"),
        ('op.execute("ALTER TABLE things ADD CONSTRAINT c CHECK (id > 0)")', "checks"),
        ('op.execute("ALTER TABLE things RENAME COLUMN name TO title")', "renames"),
        ('op.drop_column("things", "name")', "drops name, which the models use"),
    ],
)
def test_a_blocking_operation_is_reported(package: Package, line: str, what: str) -> None:
    package.add("0001_things", CREATE)
    package.add("0002_bad", line)
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", String(10)))

    found = package.plugin("sqlite:///unused.db", metadata).blocking_operations()[0]

    assert found.startswith("0002_bad: ")
    assert what in found


@pytest.mark.parametrize(
    "line",
    [
        'op.create_table("other", sa.Column("id", sa.Integer())); op.create_index("ix", "other", ["id"])',
        'op.execute("CREATE INDEX CONCURRENTLY ix ON things (name)")',
        'op.execute("ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 1 NOT NULL")',
        'op.execute("ALTER TABLE things ADD COLUMN size INTEGER")',
        'op.execute("ALTER TABLE things ADD CONSTRAINT c CHECK (id > 0) NOT VALID")',
    ],
)
def test_a_non_blocking_operation_is_not_reported(package: Package, line: str) -> None:
    package.add("0001_things", CREATE)
    package.add("0002_good", "import sqlalchemy as sa", line)
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))

    assert package.plugin("sqlite:///unused.db", metadata).blocking_operations() == []


def test_a_revision_that_blocks_on_purpose_is_skipped(package: Package) -> None:
    package.add("0001_things", CREATE)
    name = package.add("0002_bad", 'op.create_index("ix", "things", ["name"])')
    with (package.folder / f"{name}.py").open("a") as file:
        file.write('\nblocking = "the table has ten rows"\n')

    assert package.plugin("sqlite:///unused.db").blocking_operations() == []


@pytest.mark.parametrize("service", ["accounts", "orders"])
def test_no_migration_of_a_service_blocks(service: str) -> None:
    from starkeel_config import Secret
    from starkeel_db import DatabaseSettings

    settings = DatabaseSettings(url=Secret("sqlite:///unused.db"))
    plugin = DatabasePlugin(settings, metadata=MetaData(), migrations=f"{service}.migrations")

    assert plugin.blocking_operations() == []


async def test_an_invalid_index_is_logged_with_its_remedy(
    package: Package, postgres_url: str, logged: list[Any]
) -> None:
    package.add("0001_things", CREATE)
    plugin = package.plugin(postgres_url)
    await plugin.migrate()
    watcher = await asyncpg.connect(postgres_url)
    await watcher.execute("INSERT INTO things VALUES (1, 'same'), (2, 'same')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await watcher.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_left ON things (name)")

    await plugin.migrate()

    [entry] = [entry for entry in logged if entry["event"] == "invalid index found"]
    assert (entry["index"], entry["table"]) == ("ix_left", "things")
    await watcher.execute(entry["remedy"])
    await watcher.close()
    logged.clear()
    await plugin.migrate()
    assert not any(entry["event"] == "invalid index found" for entry in logged)


async def test_migrations_use_their_own_url(package: Package, postgres_url: str, free_port: int) -> None:
    from starkeel_config import Secret

    package.add("0001_things", CREATE)
    nowhere = f"postgresql://nobody:x@127.0.0.1:{free_port}/nothing"
    plugin = package.plugin(nowhere, migrations_url=Secret(postgres_url))

    assert await plugin.migrate() == 1
