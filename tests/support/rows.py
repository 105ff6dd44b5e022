"""Statements on the database of a running service."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg  # type: ignore[import-untyped]  # has no types

Row = tuple[Any, ...]


def rows(url: str, statement: str) -> list[Row]:
    """Execute a statement in a database of `DATABASE_URL`, and return its rows; not within an event loop."""
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite"):
        path = unquote(parts.path.removeprefix("/"))
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            return connection.execute(statement).fetchall()
    return asyncio.run(_postgres_rows(parts._replace(scheme="postgresql").geturl(), statement))


async def _postgres_rows(url: str, statement: str) -> list[Row]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()
