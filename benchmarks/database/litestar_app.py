"""The same handlers on Litestar with advanced-alchemy, and with what is usually seen of them."""

import os
from typing import Any

import msgspec
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, get, post
from litestar.exceptions import NotFoundException
from notes import POOL, Note
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession


class Draft(msgspec.Struct, frozen=True):
    """What is written."""

    title: str


@get("/notes/{note_id:int}")
async def read(note_id: int, db_session: AsyncSession) -> dict[str, Any]:
    """Read one row."""
    note = await db_session.scalar(select(Note).where(Note.id == note_id))
    if note is None:
        raise NotFoundException
    return {"id": note.id, "title": note.title}


@post("/notes")
async def write(data: Draft, db_session: AsyncSession) -> dict[str, Any]:
    """Write one row."""
    note = Note(title=data.title)
    db_session.add(note)
    await db_session.flush()
    return {"id": note.id, "title": note.title}


config = SQLAlchemyAsyncConfig(
    connection_string=os.environ["BENCH_DATABASE_URL"],
    before_send_handler="autocommit",
    session_config=AsyncSessionConfig(expire_on_commit=False),
    engine_config=EngineConfig(pool_size=POOL, max_overflow=0),
)


def bare() -> Litestar:
    """Nothing else."""
    return Litestar([read, write], openapi_config=None, plugins=[SQLAlchemyPlugin(config=config)])


def told() -> Litestar:
    """With its own three plugins, and OpenTelemetry's instrumentation of SQLAlchemy."""
    from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
    from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
    from litestar.plugins.structlog import StructlogPlugin
    from telemetry import provider, watch

    watch(config.get_engine().sync_engine)
    return Litestar(
        [read, write, PrometheusController],
        openapi_config=None,
        middleware=[PrometheusConfig().middleware],
        plugins=[
            SQLAlchemyPlugin(config=config),
            OpenTelemetryPlugin(OpenTelemetryConfig(tracer_provider=provider)),
            StructlogPlugin(),
        ],
    )


app = told() if os.environ.get("BENCH_TOLD") else bare()
