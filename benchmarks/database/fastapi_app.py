"""The same handlers on FastAPI with SQLAlchemy, and with what is usually seen of them."""

import os
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from notes import POOL, Note
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ["BENCH_DATABASE_URL"], pool_size=POOL, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI(openapi_url=None)


async def provide_session() -> AsyncGenerator[AsyncSession]:
    """Give each request a session."""
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(provide_session)]


class Draft(BaseModel):
    """What is written."""

    title: str


@app.get("/notes/{note_id}")
async def read(note_id: int, session: Session) -> dict[str, Any]:
    """Read one row."""
    note = await session.scalar(select(Note).where(Note.id == note_id))
    if note is None:
        raise HTTPException(404)
    return {"id": note.id, "title": note.title}


@app.post("/notes", status_code=201)
async def write(draft: Draft, session: Session) -> dict[str, Any]:
    """Write one row, committed before the answer."""
    note = Note(title=draft.title)
    session.add(note)
    await session.commit()
    return {"id": note.id, "title": note.title}


if os.environ.get("BENCH_TOLD"):
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from prometheus_fastapi_instrumentator import Instrumentator
    from telemetry import AccessLine, provider, watch

    watch(engine.sync_engine)
    app.add_middleware(AccessLine)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    Instrumentator().instrument(app).expose(app)
