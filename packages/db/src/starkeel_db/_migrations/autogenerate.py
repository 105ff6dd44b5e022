"""Writing a new migration from what changed in the models."""

import re
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from .._base.errors import SchemaBehindError
from .runner import Migrations
from .scripts import VERSION_TABLES, Scripts

_MAX_NAME = 32
"""Characters a revision's name may have: the width of Alembic's version table."""


async def write_revision(
    engine: AsyncEngine, scripts: Scripts, metadata: MetaData, message: str
) -> list[Path]:
    """Compare the models with the database and write the difference as a migration.

    Args:
        engine: Of a database that has every migration so far.
        scripts: Where the others are.
        metadata: The models.
        message: What it changes, in a few words; names the file.

    Raises:
        SchemaBehindError: The database lacks a migration.
    """
    missing = await Migrations(engine, scripts, metadata).missing()
    if missing:
        raise SchemaBehindError(missing)
    name = revision_name(len(scripts.names()) + 1, message)

    def write(connection: Connection) -> list[Path]:
        config = scripts.config(
            connection=connection, options=comparison(metadata, version_table=scripts.version_table)
        )
        made = command.revision(config, message, autogenerate=True, rev_id=name)
        found = made if isinstance(made, list) else [made]
        return [Path(script.path) for script in found if script is not None]

    async with engine.connect() as connection:
        return await connection.run_sync(write)


def revision_name(number: int, message: str) -> str:
    """Return a name that sorts and reads: `0002_add_status`."""
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_") or "change"
    return f"{number:04}_{slug}"[:_MAX_NAME].rstrip("_")


def comparison(metadata: MetaData, *, version_table: str) -> dict[str, Any]:
    """Options for Alembic to compare models and database by, and to write what it finds.

    Args:
        metadata: The models.
        version_table: Where the applied revisions stand.
    """
    return {
        "version_table": version_table,
        "include_name": _is_compared,
        "target_metadata": metadata,
        "compare_type": _differ,
        "compare_server_default": True,
        # SQLite can change next to nothing of a table: it is rebuilt, and PostgreSQL does the same in place.
        "render_as_batch": True,
        "render_item": _render_item,
    }


def _is_compared(name: str | None, kind: str, _: Any) -> bool:
    """Leave out the version tables of other services."""
    return kind != "table" or not str(name).startswith(VERSION_TABLES)


def _differ(context: MigrationContext, *columns_and_types: Any) -> bool | None:
    """Leave it to Alembic whether types differ, but for those whose SQLite form reads back as another."""
    metadata_type = columns_and_types[-1]
    if context.dialect.name == "sqlite" and _is_advanced_alchemys(metadata_type):
        return False
    return None


def _is_advanced_alchemys(item: object) -> bool:
    return type(item).__module__.startswith("advanced_alchemy.types")


def _render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write advanced-alchemy's types by their public names."""
    if kind != "type" or not _is_advanced_alchemys(item):
        return False
    name = type(item).__name__
    context.imports.add(f"from advanced_alchemy.types import {name}")
    return {"GUID": "GUID()", "DateTimeUTC": "DateTimeUTC(timezone=True)"}.get(name, repr(item))
