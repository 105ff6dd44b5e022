"""The handlers on Litestar with advanced-alchemy; with BENCH_TELEMETRY also with Litestar's own plugins."""

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


class NewNote(msgspec.Struct, frozen=True):
    title: str


@get("/notes/{note_id:int}")
async def read(note_id: int, db_session: AsyncSession) -> dict[str, Any]:
    note = await db_session.scalar(select(Note).where(Note.id == note_id))
    if note is None:
        raise NotFoundException
    return {"id": note.id, "title": note.title}


@post("/notes")
async def write(data: NewNote, db_session: AsyncSession) -> dict[str, Any]:
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


handlers: list[Any] = [read, write]
middleware: list[Any] = []
plugins: list[Any] = [SQLAlchemyPlugin(config=config)]
if os.environ["BENCH_TELEMETRY"]:
    from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
    from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
    from litestar.plugins.structlog import StructlogPlugin
    from otel_sdk import instrument, provider

    instrument(config.get_engine().sync_engine)
    handlers += [PrometheusController]
    middleware += [PrometheusConfig().middleware]
    plugins += [OpenTelemetryPlugin(OpenTelemetryConfig(tracer_provider=provider)), StructlogPlugin()]

app = Litestar(handlers, openapi_config=None, middleware=middleware, plugins=plugins)
