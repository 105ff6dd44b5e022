"""Asking PostgreSQL from outside."""

import asyncio
from typing import Any

import asyncpg  # type: ignore[import-untyped]


def value(url: str, query: str, *parameters: Any) -> Any:
    """Return the one value that a query finds, on a connection of its own."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            return await connection.fetchval(query, *parameters, timeout=60)
        finally:
            await connection.close()

    return asyncio.run(ask())


def execute(url: str, *statements: str) -> None:
    """Run statements, each by itself."""

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            for statement in statements:
                await connection.execute(statement, timeout=60)
        finally:
            await connection.close()

    asyncio.run(run())
