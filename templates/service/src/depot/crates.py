"""Crates: table, operations, and the events, log lines and metrics of each change."""

from collections.abc import Sequence, Set
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from advanced_alchemy.base import UUIDv7AuditBase
from litestar.exceptions import ClientException, NotFoundException
from sqlalchemy import CheckConstraint, ColumnElement, Index, String, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import OutboxPlugin, after_commit
from starkeel_observability import counter

from .pagination import PageCursor
from .schemas import MAX_QUANTITY, CrateView, EventType

log = structlog.get_logger(__name__)

_CRATES_CREATED = counter("depot_crates_created_total", "Crates created.")


class Crate(UUIDv7AuditBase):
    """A crate of one user."""

    __tablename__ = "depot_crates"
    __table_args__ = (
        CheckConstraint(f"quantity BETWEEN 0 AND {MAX_QUANTITY}", name="quantity"),
        Index("ix_depot_crates_page", "user_id", "created_at", "id"),
    )

    user_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(64))
    quantity: Mapped[int]
    version: Mapped[int] = mapped_column(default=1)


class Crates:
    """Operations on the crates of one user within one unit of work, and their events.

    With an id they raise `NotFoundException` if it does not exist or is that of another user.
    """

    def __init__(self, session: AsyncSession, outbox: OutboxPlugin, user_id: UUID) -> None:
        self._session = session
        self._outbox = outbox
        self._user_id = user_id

    async def create(self, *, name: str, quantity: int) -> Crate:
        """Create a crate."""
        crate = Crate(user_id=self._user_id, name=name, quantity=quantity)
        self._session.add(crate)
        await self._session.flush()
        after_commit(self._session, _CRATES_CREATED.inc)
        await self._record("crate.created", crate, message="crate created")
        return crate

    async def get(self, crate_id: UUID) -> Crate:
        """Return a crate."""
        crate = await self._session.scalar(select(Crate).where(*self._matches(crate_id)))
        if crate is None:
            raise NotFoundException("Crate not found.")
        return crate

    async def page(self, *, after: PageCursor | None, limit: int) -> Sequence[Crate]:
        """Return at most `limit` crates after a position, newest first."""
        newest_first = (Crate.created_at.desc(), Crate.id.desc())
        query = select(Crate).where(Crate.user_id == self._user_id).order_by(*newest_first).limit(limit)
        if after is not None:
            query = query.where(tuple_(Crate.created_at, Crate.id) < (after.created_at, after.id))
        return (await self._session.scalars(query)).all()

    async def change(self, crate_id: UUID, *, quantity: int, versions: Set[int] | None) -> Crate:
        """Change the quantity, if the version is one of these; any if they are `None`.

        Raises:
            ClientException: 412, it has another version.
        """
        # A single statement checks and changes the row, so of concurrent changes only one succeeds.
        changed = await self._session.scalar(
            update(Crate)
            .where(*self._matches(crate_id, versions))
            .values(quantity=quantity, version=Crate.version + 1, updated_at=datetime.now(UTC))
            .returning(Crate)
            .execution_options(synchronize_session=False)
        )
        return await self._recorded("crate.changed", changed, crate_id, message="crate changed")

    async def delete(self, crate_id: UUID, *, versions: Set[int] | None) -> None:
        """Delete a crate, if its version is one of these; any if they are `None`.

        Raises:
            ClientException: 412, it has another version.
        """
        deleted = await self._session.scalar(
            delete(Crate)
            .where(*self._matches(crate_id, versions))
            .returning(Crate)
            .execution_options(synchronize_session=False)
        )
        await self._recorded("crate.deleted", deleted, crate_id, message="crate deleted")

    def _matches(self, crate_id: UUID, versions: Set[int] | None = None) -> list[ColumnElement[bool]]:
        conditions: list[Any] = [Crate.id == crate_id, Crate.user_id == self._user_id]
        return conditions if versions is None else [*conditions, Crate.version.in_(versions)]

    async def _recorded(
        self, event_type: EventType, crate: Crate | None, crate_id: UUID, *, message: str
    ) -> Crate:
        if crate is None:
            await self.get(crate_id)
            raise ClientException("It has changed since it was read. Read it again.", status_code=412)
        await self._record(event_type, crate, message=message)
        return crate

    async def _record(self, event_type: EventType, crate: Crate, *, message: str) -> None:
        """Add an event to the outbox, and log it after the commit."""
        body, user_id = view(crate), str(crate.user_id)

        def report() -> None:
            log.info(message, crate_id=str(body.id), user_id=user_id, quantity=body.quantity)

        after_commit(self._session, report)
        payload = msgspec.json.encode(body).decode()
        await self._outbox.add(self._session, key=user_id, kind=event_type, payload=payload)


def view(crate: Crate) -> CrateView:
    """Return a crate as responses and events contain it."""
    return CrateView(
        id=crate.id,
        name=crate.name,
        quantity=crate.quantity,
        created_at=crate.created_at,
        updated_at=crate.updated_at,
    )
