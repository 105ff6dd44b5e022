"""The handlers on FastAPI with SQLAlchemy; with BENCH_TELEMETRY also with its usual telemetry."""

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
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(provide_session)]


class NewNote(BaseModel):
    title: str


@app.get("/notes/{note_id}")
async def read(note_id: int, session: Session) -> dict[str, Any]:
    note = await session.scalar(select(Note).where(Note.id == note_id))
    if note is None:
        raise HTTPException(404)
    return {"id": note.id, "title": note.title}


@app.post("/notes", status_code=201)
async def write(data: NewNote, session: Session) -> dict[str, Any]:
    note = Note(title=data.title)
    session.add(note)
    await session.commit()
    return {"id": note.id, "title": note.title}


if os.environ["BENCH_TELEMETRY"]:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from otel_sdk import AccessLog, instrument, provider
    from prometheus_fastapi_instrumentator import Instrumentator

    instrument(engine.sync_engine)
    app.add_middleware(AccessLog)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    Instrumentator().instrument(app).expose(app)
