from collections.abc import Callable
from typing import Any, Final

import aiosqlite
import asyncpg  # type: ignore[import-untyped]
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.exceptions import ClientException, InternalServerException
from litestar.params import FromPath
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import ServiceSettings
from starkeel_db import DatabaseSettings
from starkeel_http import HttpSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings, build

from . import SERVICE
from .catalogue import error_classes, made

CLASSES: Final = error_classes()
UNPRINTABLE: Final = "unprintable"
RAISED: Final = "SELECT 'raise {}'"


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    database: DatabaseSettings


@get("/handler/{name:str}")
async def handler(name: FromPath[str]) -> None:
    """Raise an exception in the handler."""
    raise made(CLASSES[name])


@get("/database/{name:str}")
async def database(name: FromPath[str], session: NamedDependency[AsyncSession]) -> None:
    """Raise an exception in the driver, in the second statement of a transaction that has an effect."""
    # A call: it might have an effect.
    await session.execute(text("SELECT abs(1)"))
    await session.execute(text(RAISED.format(name)))


@get("/first/{name:str}")
async def first(name: FromPath[str], session: NamedDependency[AsyncSession]) -> None:
    """Raise an exception once in the driver, in the first statement of a transaction."""
    await session.execute(text(RAISED.format(f"once {name}")))


class UnprintableError(Exception):
    """An exception whose text and attributes cannot be read, as of a library with a mistake."""

    sqlite_errorcode = sqlstate = property(lambda self: self.fail())
    detail = extra = headers = status_code = orig = driver_exception = sqlstate

    def fail(self) -> str:
        raise ValueError("mistake")

    __str__ = __repr__ = fail


@get("/unprintable/{place:str}")
async def unprintable(place: FromPath[str], session: NamedDependency[AsyncSession]) -> None:
    """Raise an exception that cannot be printed."""
    if place == "group":
        raise ExceptionGroup("several", [UnprintableError()])
    if place == "cycle":
        first, second = ClientException(), InternalServerException()
        first.__cause__, second.__cause__ = second, first
        raise second
    if place == "database":
        await session.execute(text(RAISED.format(UNPRINTABLE)))
    raise UnprintableError


def _raising(original: Callable[..., Any]) -> Callable[..., Any]:
    raised: set[str] = set()

    def call(self: Any, query: str, *args: Any, **options: Any) -> Any:
        before, found, name = query.rstrip("'").rpartition(" ")
        if found and before.startswith("SELECT 'raise") and query not in raised:
            if "once" in before:
                raised.add(query)
            raise UnprintableError if name == UNPRINTABLE else made(CLASSES[name])
        return original(self, query, *args, **options)

    return call


asyncpg.Connection.prepare = _raising(asyncpg.Connection.prepare)
aiosqlite.Connection.execute = _raising(aiosqlite.Connection.execute)  # type: ignore[method-assign]
aiosqlite.Cursor.execute = _raising(aiosqlite.Cursor.execute)  # type: ignore[method-assign]


def create_app(settings: SampleSettings) -> Litestar:
    return build(SERVICE, settings, handlers=[handler, database, first, unprintable])
