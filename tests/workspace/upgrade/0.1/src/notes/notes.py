"""Notes: table and endpoints."""

from collections.abc import AsyncIterator

from advanced_alchemy.base import UUIDv7AuditBase
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import ServerSentEvent
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from starkeel_auth import requires_scope
from starkeel_db import Follower, Outbox
from starkeel_http import Idempotency, limit_by_user


class Note(UUIDv7AuditBase):
    """A note."""

    __tablename__ = "notes"

    text: Mapped[str]


@post("/api/notes/{text:str}", guards=[requires_scope("notes:write")], opt=limit_by_user("notes"))
async def add(
    text: FromPath[str],
    session: NamedDependency[AsyncSession],
    outbox: NamedDependency[Outbox],
    idempotency: NamedDependency[Idempotency],
) -> dict[str, str]:
    """Add a note, once for each idempotency key."""
    await idempotency.claim()
    note = Note(text=text)
    session.add(note)
    await session.flush()
    await outbox.add(session, key="notes", kind="note.added", payload=text)
    return {"id": str(note.id)}


@get("/api/notes/events")
async def events(outbox: NamedDependency[Outbox]) -> ServerSentEvent:
    """Send the events of all notes since the first one."""

    async def texts() -> AsyncIterator[str]:
        async with outbox.following("notes", after=0) as follower:
            yield await _next_text(follower)

    return ServerSentEvent(texts())


async def _next_text(follower: Follower) -> str:
    return (await follower.next()).payload
