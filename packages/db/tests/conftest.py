"""A small application on a real database."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import structlog
from litestar import Litestar
from sqlalchemy import ForeignKey, MetaData, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings
from structlog.testing import LogCapture

TEMPLATE = """
revision = "{name}"
down_revision = {down!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
    pass
"""


async def until(condition: Callable[[], object], *, timeout_s: float = 30.0) -> None:
    """Wait until `condition()` is true, by polling; fail after `timeout_s` seconds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={"fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}
    )


class Shelf(Base):
    __tablename__ = "shelves"

    id: Mapped[int] = mapped_column(primary_key=True)


class Book(Base):
    """Has a deferred foreign key, which is checked at the commit."""

    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    shelf_id: Mapped[int | None] = mapped_column(
        ForeignKey("shelves.id", initially="DEFERRED", deferrable=True)
    )


class Library(NamedTuple):
    """A running application."""

    app: Litestar
    client: httpx2.AsyncClient
    database: DatabasePlugin


Open = Callable[..., AbstractAsyncContextManager[Library]]


async def titles(opened: Library) -> list[str]:
    async with opened.database.session() as session:
        return list(await session.scalars(select(Book.title).order_by(Book.id)))


@pytest.fixture
def library() -> Open:
    """Start an application with the given handlers on a database with the tables of a library."""

    @asynccontextmanager
    async def start(
        url: str,
        handlers: list[Any],
        *,
        _process: tuple[int, int] = (0, 1),
        _without_tables: bool = False,
        **settings: Any,
    ) -> AsyncGenerator[Library]:
        values = {"min_connections": 0, **settings}
        plugin = DatabasePlugin(
            DatabaseSettings(url=Secret(url), **values),
            metadata=Base.metadata,
            migrations="library.migrations",
        )
        index, workers = _process
        plugin.start_process(role="worker", index=index, workers=workers)
        app = Litestar(handlers, plugins=[plugin])
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        client = httpx2.AsyncClient(transport=transport, base_url="http://library")
        async with app.lifespan(), client:
            if not _without_tables:
                async with plugin.session() as session:
                    connection = await session.connection()
                    await connection.run_sync(Base.metadata.create_all)
            yield Library(app, client, plugin)

    return start


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """Return the captured structlog entries."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture.entries
    structlog.configure(**before)


class Package:
    """A migrations package written by a test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._last: str | None = None

    def add(self, name: str, *lines: str) -> str:
        """Add a revision whose upgrade consists of the given lines."""
        upgrade = "\n".join(f"    {line}" for line in ("from alembic import op", *lines))
        text = TEMPLATE.format(name=name, down=self._last, upgrade=upgrade)
        (self.folder / f"{name}.py").write_text(text)
        self._last = name
        return name

    def plugin(self, url: str, metadata: MetaData | None = None, **settings: Any) -> DatabasePlugin:
        """Return a plugin with these migrations."""
        values: dict[str, Any] = {"min_connections": 0, "startup_timeout_s": 5.0, **settings}
        return DatabasePlugin(
            DatabaseSettings(url=Secret(url), **values), metadata=metadata or MetaData(), migrations=self.name
        )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Return an empty migrations package; its name is unique, because modules stay imported."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / "code" / name / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    return Package(folder, f"{name}.migrations")
