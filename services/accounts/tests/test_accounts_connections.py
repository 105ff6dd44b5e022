"""No connection is held while a password is hashed, which takes much longer than a query."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from accounts.app import create_app
from accounts.emails import EmailAddress
from accounts.passwords import PasswordHashing
from accounts.security_events import SecurityEvents
from accounts.settings import Settings
from accounts.users import User, Users
from litestar.exceptions import PermissionDeniedException
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import load
from starkeel_db import DatabasePlugin
from starkeel_messaging import MessagingPlugin

EVENTS = SecurityEvents(lambda: b"key")


class _Hashing(PasswordHashing):
    """Hashes as usual, and notes whether a connection is held meanwhile."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__()
        self._session = session
        self.held: list[bool] = []

    async def hash(self, password: str) -> str:
        self.held.append(self._session.in_transaction())
        return await super().hash(password)

    async def verify(self, password: str, encoded: str | None) -> bool:
        self.held.append(self._session.in_transaction())
        return await super().verify(password, encoded)


@asynccontextmanager
async def _plugins(tmp_path: Path) -> AsyncIterator[tuple[DatabasePlugin, MessagingPlugin]]:
    """Database of the application, with empty tables, and its events."""
    environ = {"ENVIRONMENT": "development", "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db"}
    app = create_app(load(Settings, environ, service="accounts"))
    plugin = app.plugins.get(DatabasePlugin)
    async with app.lifespan():
        async with plugin.session() as session:
            await (await session.connection()).run_sync(User.metadata.create_all)
        yield plugin, app.plugins.get(MessagingPlugin)


async def test_every_operation_releases_its_connection_before_it_hashes(tmp_path: Path) -> None:
    email, old, new = EmailAddress.parse("ada@example.com"), "a wagon full of clocks", "nine oak bookshelves"
    async with _plugins(tmp_path) as (database, messaging), database.session() as session:
        hashing = _Hashing(session)
        users = Users(session, hashing, EVENTS, messaging)
        user_id = (await users.sign_up(email, old)).id
        await session.commit()
        signed_in = await users.authenticate(email, old)
        assert signed_in is not None
        assert signed_in.id == user_id
        await users.change_password(await users.get_active(str(user_id)), current=old, new=new)
        await session.commit()
        await users.deactivate(await users.get_active(str(user_id)), password=new)
        await session.commit()
        assert await users.authenticate(email, new) is None
    assert hashing.held == [False] * 6


async def test_a_password_that_has_changed_meanwhile_confirms_nothing(tmp_path: Path) -> None:
    email, old, new = EmailAddress.parse("ada@example.com"), "a wagon full of clocks", "nine oak bookshelves"
    async with (
        _plugins(tmp_path) as (database, messaging),
        database.session() as session,
        database.session() as other,
    ):
        users = Users(session, PasswordHashing(), EVENTS, messaging)
        user_id = str((await users.sign_up(email, old)).id)
        await session.commit()
        user = await users.get_active(user_id)
        await session.commit()
        concurrent = Users(other, PasswordHashing(), EVENTS, messaging)
        await concurrent.change_password(await concurrent.get_active(user_id), current=old, new=new)
        await other.commit()
        with pytest.raises(PermissionDeniedException):
            await users.deactivate(user, password=old)
        assert await users.authenticate(email, new) is not None
