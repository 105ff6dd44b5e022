"""An application with jobs on a real database, for the tests."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from litestar import Litestar
from sqlalchemy import MetaData, text
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings
from starkeel_jobs import JobSettings, JobsPlugin


async def until(condition: Callable[[], object], *, timeout_s: float = 30.0) -> None:
    """Wait until `condition()` is true, by polling; fail after `timeout_s` seconds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


class Shop:
    """A running application with its jobs."""

    def __init__(self, app: Litestar, database: DatabasePlugin, jobs: JobsPlugin) -> None:
        self.app = app
        self.database = database
        self.jobs = jobs

    async def enqueue(self, job: Any, **arguments: Any) -> int | None:
        async with self.database.session() as session:
            return await self.jobs.enqueue(session, job, **arguments)

    async def execute(self, statement: str) -> list[Any]:
        async with self.database.session() as session:
            result = await session.execute(text(statement))
            return list(result.all()) if result.returns_rows else []

    async def until_done(self) -> None:
        """Wait until no job is queued or being executed."""
        async with asyncio.timeout(60):
            while any(  # noqa: ASYNC110 - other processes
                record.state in {"queued", "running"} for record in await self.jobs.records(limit=9999)
            ):
                await asyncio.sleep(0.02)


Open = Callable[..., AbstractAsyncContextManager[Shop]]


@asynccontextmanager
async def shop(
    url: str,
    jobs: Sequence[Any],
    *,
    resources: Sequence[object] = (),
    plugins: Sequence[Any] = (),
    works: bool = True,
    **settings: Any,
) -> AsyncGenerator[Shop]:
    """Run an application with jobs; its tables are created if necessary."""
    metadata = MetaData()
    database = DatabasePlugin(
        DatabaseSettings(url=Secret(url), min_connections=0), metadata=metadata, migrations="shop.migrations"
    )
    plugin = JobsPlugin(JobSettings(**settings), jobs=jobs, resources=resources)
    plugin.enable_work(works)
    app = Litestar([], plugins=[database, *plugins, plugin])
    creating = Litestar([], plugins=[database])
    async with creating.lifespan(), database.session() as session:
        connection = await session.connection()
        await connection.run_sync(metadata.create_all)
        await session.execute(text("CREATE TABLE IF NOT EXISTS effects (job_id BIGINT, note VARCHAR(100))"))
    async with app.lifespan():
        yield Shop(app, database, plugin)
