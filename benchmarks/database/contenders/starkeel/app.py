"""The handlers with telemetry, HTTP edge, drain, unit of work, idempotency keys and outbox."""

import json
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Litestar, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from notes import Note
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import ServiceSettings
from starkeel_db import DatabaseSettings, IdempotencyPlugin, OutboxPlugin, read_only
from starkeel_http import HttpSettings, Idempotency
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings, build

from . import SERVICE


class Settings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    database: DatabaseSettings


class NewNote(msgspec.Struct, frozen=True):
    title: str


class User:
    subject = "ada"


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Treat every request as one user's: an idempotency key belongs to a user."""
    connection.scope["user"] = User()


@get("/notes/{note_id:int}", opt=read_only())
async def read(note_id: FromPath[int], session: NamedDependency[AsyncSession]) -> dict[str, Any]:
    note = await session.scalar(select(Note).where(Note.id == note_id))
    if note is None:
        raise NotFoundException
    return {"id": note.id, "title": note.title}


@post("/notes")
async def write(data: JSONBody[NewNote], session: NamedDependency[AsyncSession]) -> dict[str, Any]:
    return await _insert(session, data.title)


@post("/notes/once", guards=[authenticate])
async def write_once(
    data: JSONBody[NewNote],
    session: NamedDependency[AsyncSession],
    idempotency: NamedDependency[Idempotency],
    outbox: NamedDependency[OutboxPlugin],
) -> dict[str, Any]:
    """Write one row, its event and its response."""
    await idempotency.claim()
    written = await _insert(session, data.title)
    # A key of its own: most requests are about different rows.
    await outbox.add(session, key=str(written["id"]), kind="note.written", payload=json.dumps(written))
    return written


async def _insert(session: AsyncSession, title: str) -> dict[str, Any]:
    note = Note(title=title)
    session.add(note)
    await session.flush()
    return {"id": note.id, "title": note.title}


def create_app(settings: Settings) -> Litestar:
    hour = timedelta(hours=1)
    return build(
        SERVICE,
        settings,
        handlers=[read, write, write_once],
        plugins=[IdempotencyPlugin(lifetime=hour), OutboxPlugin(retention=hour)],
        openapi_config=None,
    )
