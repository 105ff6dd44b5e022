"""The services' models and migrations agree, on both databases."""

from importlib import import_module
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings
from starkeel_db._revision import comparison


@pytest.mark.parametrize(
    ("service", "models", "table"),
    [
        ("accounts", "accounts.users", "User"),
        ("orders", "orders.orders", "Order"),
    ],
)
async def test_models_and_migrations_agree(database_url: str, service: str, models: str, table: str) -> None:
    model = getattr(import_module(models), table)
    metadata = MetaData()
    model.__table__.to_metadata(metadata)
    settings = DatabaseSettings(url=Secret(database_url), min_connections=0)
    plugin = DatabasePlugin(settings, metadata=metadata, migrations=f"{service}.migrations")

    assert await plugin.migrate() > 0
    assert await _differences(database_url, metadata, f"alembic_version_{service}") == []


async def _differences(url: str, metadata: MetaData, version_table: str) -> Any:
    def compare(connection: Connection) -> Any:
        context = MigrationContext.configure(
            connection, opts=comparison(metadata, version_table=version_table)
        )
        return compare_metadata(context, metadata)

    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.connect() as connection:
            found = compare(connection)
        engine.dispose()
        return found
    asynchronous = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with asynchronous.connect() as connected:
        found = await connected.run_sync(compare)
    await asynchronous.dispose()
    return found
