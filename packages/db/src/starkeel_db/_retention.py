"""Background deletion of expired rows."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog
from litestar import Litestar
from sqlalchemy import Column, ColumnElement, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import RetentionScheduleHook

from ._base.errors import DatabaseUnavailable

log = structlog.get_logger(__name__)

_DELETED_AT_ONCE = 1000
"""Maximum number of rows that one statement deletes."""
_EVERY_S = 60.0
_DELETE_S = 2.0


@asynccontextmanager
async def deleting(delete_expired: Callable[[], Awaitable[int]], what: str) -> AsyncGenerator[None]:
    """Delete expired rows about once a minute while the block runs, the first time after a pause.

    Args:
        delete_expired: Deletes a batch with `delete_batch` and returns the number of rows.
        what: Name of the rows in log messages.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run, delete_expired, what)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def deleting_unless_scheduled(
    app: Litestar, delete_old_rows: Callable[[], Awaitable[int]], what: str
) -> AsyncGenerator[None]:
    """Do the same as `deleting` unless a plugin of the application deletes old rows by a schedule."""
    if any(isinstance(plugin, RetentionScheduleHook) for plugin in app.plugins):
        yield
        return
    async with deleting(delete_old_rows, what):
        yield


async def delete_batch(
    session: AsyncSession, column: Column[Any], is_expired: ColumnElement[bool], *, is_ordered: bool = False
) -> int:
    """Delete at most 1000 rows, of the table with the primary key `column`, and return their number.

    With `is_ordered`, the rows with the lowest keys are deleted first.
    """
    # Rows locked by another process are deleted by it; SQLite has no row locks, and the clause is omitted.
    expired = select(column).where(is_expired).limit(_DELETED_AT_ONCE).with_for_update(skip_locked=True)
    if is_ordered:
        expired = expired.order_by(column)
    deleted = await session.execute(delete(column.table).where(column.in_(expired)).returning(column))
    return len(deleted.all())


async def _run(delete_expired: Callable[[], Awaitable[int]], what: str) -> None:
    while True:
        await anyio.sleep(_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter between processes
        try:
            # A stop must not abandon a connection in the middle of a statement.
            while await shielded(delete_expired, within_s=_DELETE_S) >= _DELETED_AT_ONCE:
                await anyio.lowlevel.checkpoint()
        except DatabaseUnavailable as error:
            log.debug("expired rows not deleted", what=what, reason=error.reason)
        except Exception as error:
            name = type(error).__name__
            log.warning("expired rows not deleted", what=what, error=name, exc_info=unexpected(error))


async def shielded(run: Callable[[], Awaitable[int]], *, within_s: float) -> int:
    """Run a function to its end even if the process stops, for some seconds; return 0 after a timeout."""
    with anyio.move_on_after(within_s, shield=True):
        return await run()
    return 0


def unexpected(error: Exception) -> Exception | None:
    """Return an error whose stack trace must be logged: no outage and no error of a statement."""
    return None if isinstance(error, DatabaseUnavailable | SQLAlchemyError) else error
