"""Queries of PostgreSQL on connections of their own."""

import asyncio
from typing import Any

import asyncpg  # type: ignore[import-untyped]


def value(url: str, query: str, *parameters: Any) -> Any:
    """Return the first value of a query's result."""

    async def fetch() -> Any:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            return await connection.fetchval(query, *parameters, timeout=60)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            for statement in statements:
                await connection.execute(statement, timeout=60)
        finally:
            await connection.close()

    asyncio.run(run())
