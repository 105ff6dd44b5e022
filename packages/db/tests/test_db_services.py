"""The services' models and migrations agree, on both databases."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from advanced_alchemy.base import orm_registry
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from litestar import Litestar
from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, IdempotencyPlugin, OutboxPlugin
from starkeel_db._migrations.autogenerate import comparison
from starkeel_db._migrations.scripts import Scripts
from starkeel_jobs import JobSettings, JobsPlugin
from starkeel_messaging import MessagingPlugin, MessagingSettings

EVENTS = {"accounts": "user_events", "orders": "order_events"}
"""Modules with the types of the events that a service publishes."""


@pytest.mark.parametrize("service", ["accounts", "orders"])
async def test_models_and_migrations_agree(database_url: str, service: str) -> None:
    metadata = _metadata(service)
    plugin = _plugin(database_url, service, metadata)
    Litestar(plugins=[plugin, *_plugins(service)])

    assert (await plugin.migrate() or 0) > 0
    assert await _differences(database_url, metadata, f"alembic_version_{service}") == []


@pytest.mark.parametrize("service", ["accounts", "orders"])
async def test_every_revision_can_be_downgraded_and_upgraded(database_url: str, service: str) -> None:
    plugin = _plugin(database_url, service, MetaData())
    scripts = Scripts(f"{service}.migrations")
    count = len(scripts.names())
    assert await plugin.migrate() == count

    for below in range(1, count + 1):
        async with plugin._unpooled() as engine, engine.connect() as connection:
            await connection.run_sync(_downgrade, scripts, below)
            await connection.commit()
        assert await plugin.migrate() == below


def _plugins(service: str) -> list[Any]:
    """Return the plugins of a service that have tables."""
    hour, publishes = timedelta(hours=1), import_module(f"{service}.{EVENTS[service]}").PUBLISHED
    handlers = [import_module("orders.user_events").cancel_open_orders] if service == "orders" else []
    return [
        *([IdempotencyPlugin(lifetime=hour)] if service == "orders" else []),
        OutboxPlugin(retention=hour),
        JobsPlugin(JobSettings(), jobs=[]),
        MessagingPlugin(MessagingSettings(), service=service, publishes=publishes, handlers=handlers),
    ]


def _metadata(service: str) -> MetaData:
    """Return the tables of one service; the registry has those of all that are imported."""
    import_module(f"{service}.app")
    metadata = MetaData(naming_convention=orm_registry.metadata.naming_convention)
    for mapper in orm_registry.mappers:
        if mapper.class_.__module__.startswith(f"{service}."):
            orm_registry.metadata.tables[mapper.class_.__tablename__].to_metadata(metadata)
    return metadata


def _plugin(url: str, service: str, metadata: MetaData) -> DatabasePlugin:
    settings = DatabaseSettings(url=Secret(url), min_connections=0)
    return DatabasePlugin(settings, metadata=metadata, migrations=f"{service}.migrations")


def _downgrade(connection: Connection, scripts: Scripts, steps: int) -> None:
    if connection.dialect.name != "sqlite":
        connection.rollback()
    command.downgrade(scripts.config(connection, transaction_per_migration=True), f"-{steps}")


async def _differences(url: str, metadata: MetaData, version_table: str) -> Any:
    def compare(connection: Connection) -> Any:
        opts = {**comparison(metadata), "version_table": version_table}
        context = MigrationContext.configure(connection, opts=opts)
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
