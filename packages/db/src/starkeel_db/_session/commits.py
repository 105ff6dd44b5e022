"""Commits of units of work, which a cancellation does not interrupt."""

import asyncio
from typing import Final

import anyio
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from .._base.errors import CommitRefusedError, reason_of

log = structlog.get_logger(__name__)

CLOSE_S: Final = 2.0
"""Seconds to wait for a connection to be released; then it is dropped."""


class Commits:
    """Commits that are running although their requests were cancelled, as at the end of the grace period.

    A driver would cancel a COMMIT on the server, which may have executed it: neither the client nor the log
    would have its outcome.
    """

    def __init__(self) -> None:
        self._running: dict[AsyncSession, asyncio.Future[None]] = {}

    async def commit(self, session: AsyncSession) -> None:
        """Commit a session; if the task is cancelled, the commit continues and its outcome is logged.

        Raises:
            DatabaseUnavailable: The database was unavailable at the commit.
            SQLAlchemyError: The commit was refused, for example by a deferred constraint.
        """
        committing = asyncio.ensure_future(_commit(session))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            if not committing.done():
                self._running[session] = committing
                committing.add_done_callback(lambda done: self._report(session, done))
            raise

    def is_running(self, session: AsyncSession) -> bool:
        """Return whether the commit of a session continues after a cancellation."""
        return session in self._running

    async def wait(self, *, timeout_s: float) -> None:
        """Wait for the commits that are still running."""
        if self._running:
            _, left = await asyncio.wait(self._running.values(), timeout=timeout_s)
            if left:
                log.warning("commits abandoned: their outcome is unknown", count=len(left))

    def _report(self, session: AsyncSession, done: asyncio.Future[None]) -> None:
        del self._running[session]
        # A failure was logged, and is retrieved here so that it is not logged again.
        if not done.cancelled() and done.exception() is None:
            log.warning("committed after the request was cancelled")


async def _commit(session: AsyncSession) -> None:
    try:
        await session.commit()
    except CommitRefusedError:
        await close(session)
        raise
    except Exception as error:
        log.error("commit failed", error=type(error).__name__, reason=reason_of(error))
        await close(session)
        raise


async def close(session: AsyncSession) -> None:
    """Roll back and release the connection, shielded from cancellation, within `CLOSE_S`."""
    if not session.in_transaction():
        # It has no connection to wait for.
        session.sync_session.close()
        return
    with anyio.move_on_after(CLOSE_S, shield=True) as scope:
        await session.close()
    if scope.cancelled_caught:
        log.warning("connection dropped: release timed out")
        with anyio.move_on_after(CLOSE_S, shield=True):
            await session.invalidate()
