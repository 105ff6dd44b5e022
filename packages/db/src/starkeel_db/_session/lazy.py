"""Unit of work outside of requests, whose session is created when it is first used."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from .commits import close
from .unit_of_work import Sessions


class LazySession:
    """Session of a unit of work; most blocks that may need one do not.

    Attributes:
        made: The session, or None while it was not used.
    """

    __slots__ = ("_reads_only", "_sessions", "made")

    def __init__(self, sessions: Sessions, *, reads_only: bool) -> None:
        self._sessions = sessions
        self._reads_only = reads_only
        self.made: AsyncSession | None = None

    def get(self) -> AsyncSession:
        """Return the session."""
        if self.made is None:
            self.made = self._sessions.make(read_only=self._reads_only)
        return self.made


@asynccontextmanager
async def unit_of_work(sessions: Sessions, *, reads_only: bool = False) -> AsyncGenerator[LazySession]:
    """Commit the session at the end of the block, if it was used, and roll back after an exception."""
    lazy = LazySession(sessions, reads_only=reads_only)
    try:
        yield lazy
        if (session := lazy.made) is not None and session.in_transaction() and not reads_only:
            await sessions.commits.commit(session)
    finally:
        if (session := lazy.made) is not None and not sessions.commits.is_running(session):
            await close(session)
