"""Writes a migration from the difference between models and database."""

import re
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from .._base.errors import SchemaBehindError
from .history import HISTORY_TABLES
from .scripts import VERSION_TABLES, Scripts

_MAX_NAME = 32
"""Maximum length of a revision's name: the width of the column in Alembic's version table."""


async def write_revision(
    engine: AsyncEngine, scripts: Scripts, metadata: MetaData, message: str, *, is_empty: bool
) -> list[Path]:
    """Compare the models with the database and write the difference, if any, as a migration.

    Args:
        engine: The database.
        scripts: The migrations.
        metadata: The tables of the models.
        message: Description, which becomes a part of the name.
        is_empty: Whether to write a migration without operations instead.

    Raises:
        SchemaBehindError: The database lacks a migration.
        NewerDatabaseError: The database has a revision that the code does not have.
    """
    async with engine.connect() as connection:
        missing = scripts.missing(await scripts.applied(connection))
    if missing:
        raise SchemaBehindError(missing, service=scripts.service)
    name = revision_name(len(scripts.names()) + 1, message)

    def write(connection: Connection) -> list[Path]:
        from alembic import command

        options = comparison(metadata) | {"process_revision_directives": _discard_empty}
        config = scripts.config(connection, **options)
        made = command.revision(config, message, autogenerate=not is_empty, rev_id=name)
        found = made if isinstance(made, list) else [made]
        return [Path(script.path) for script in found if script is not None]

    async with engine.connect() as connection:
        return await connection.run_sync(write)


def _discard_empty(_context: Any, _revision: Any, directives: list[Any]) -> None:
    if directives[0].upgrade_ops.is_empty():
        directives.clear()


def revision_name(number: int, message: str) -> str:
    """Return the name of a revision, such as `0002_add_status`."""
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_") or "change"
    return f"{number:04}_{slug}"[:_MAX_NAME].rstrip("_")


def comparison(metadata: MetaData) -> dict[str, Any]:
    """Return Alembic's options for comparing models with a database and rendering the difference."""
    return {
        "include_name": _is_compared,
        "target_metadata": metadata,
        "compare_type": _differ,
        "compare_server_default": True,
        # SQLite supports few changes of a table: batch mode rebuilds it there, and alters it on PostgreSQL.
        "render_as_batch": True,
        "render_item": _render_item,
    }


def _is_compared(name: str | None, kind: str, _: Any) -> bool:
    """Exclude the tables of applied revisions of all services."""
    return kind != "table" or not str(name).startswith((VERSION_TABLES, HISTORY_TABLES))


def _differ(context: Any, *columns_and_types: Any) -> bool | None:
    """Use Alembic's comparison, except for types whose SQLite form is reflected as another type."""
    is_reflected = context.dialect.name != "sqlite" or not _is_from_advanced_alchemy(columns_and_types[-1])
    return None if is_reflected else False


def _is_from_advanced_alchemy(item: object) -> bool:
    return type(item).__module__.startswith("advanced_alchemy.types")


def _render_item(kind: str, item: Any, context: Any) -> str | Literal[False]:
    """Render advanced-alchemy's types with their public names."""
    if kind != "type" or not _is_from_advanced_alchemy(item):
        return False
    name = type(item).__name__
    context.imports.add(f"from advanced_alchemy.types import {name}")
    return {"GUID": "GUID()", "DateTimeUTC": "DateTimeUTC(timezone=True)"}.get(name, repr(item))
