"""One session for a request, committed before its response starts."""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

import anyio
import structlog
from litestar.exceptions import ImproperlyConfiguredException
from litestar.types import Scope
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_asgi import GateOrder, HttpExchange, Response, current

from .._base.errors import DatabaseUnavailable
from .session import Sessions, end

log = structlog.get_logger(__name__)

CLOSE_S = 2.0
"""Seconds that giving a connection back may take; then it is dropped."""
_KEY: Final = "starkeel_db"
_FIRST_ERROR = 400
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class UnitOfWork:
    """What a request does to the database, as a whole or not at all."""

    __slots__ = ("_session", "_sessions", "_state", "is_over", "reads_only")

    def __init__(
        self, sessions: Callable[[], Sessions], state: MutableMapping[str, Any], *, reads_only: bool
    ) -> None:
        self._sessions = sessions
        self._state = state
        self._session: AsyncSession | None = None
        self.is_over = False
        self.reads_only = reads_only

    @property
    def session(self) -> AsyncSession:
        """The session, made when it is first asked for."""
        if self._session is None:
            self._session = self._sessions().make(self._state, reads_only=self.reads_only)
            if self.is_over:
                end(self._session)
        return self._session

    async def finish(self, *, succeeded: bool) -> None:
        """Commit or roll back, and give the connection back; doing so again is no mistake.

        Raises:
            DatabaseUnavailable: The database could not commit.
            SQLAlchemyError: It would not: a deferred constraint is violated, for one.
        """
        session = self._session
        if self.is_over or session is None:
            self.is_over = True
            return
        self.is_over = True
        try:
            if succeeded and session.in_transaction():
                await session.commit()
        except Exception as error:
            log.error("commit failed", error=type(error).__name__, reason=_reason(error))
            raise
        finally:
            end(session)
            if session.in_transaction():
                await close(session)

    async def end_with(self, response: Response) -> None:
        """Commit before a successful response starts, roll back before another."""
        if not self.is_over:
            await self.finish(succeeded=response.status < _FIRST_ERROR)

    async def abandon(self) -> None:
        """Roll back what was not committed."""
        await self.finish(succeeded=False)


async def close(session: AsyncSession) -> None:
    """Roll back what is open and give the connection back, whatever is being cancelled, within a time."""
    with anyio.move_on_after(CLOSE_S, shield=True) as scope:
        await session.close()
    if scope.cancelled_caught:
        log.warning("connection dropped: it could not be given back in time")
        with anyio.move_on_after(CLOSE_S, shield=True):
            await session.invalidate()


class UnitOfWorkProvider:
    """Provides a request's session, which is committed before the response starts.

    Args:
        sessions: Returns the session factory while the application runs.
    """

    def __init__(self, sessions: Callable[[], Sessions]) -> None:
        self._sessions = sessions

    def provide(self, scope: Scope) -> AsyncSession:
        """Return the session of a request's unit of work.

        Raises:
            ImproperlyConfiguredException: In a WebSocket, which would keep a connection while it is open,
                or where the application was not started.
        """
        exchange = current(scope)
        if not isinstance(exchange, HttpExchange):
            raise ImproperlyConfiguredException(
                "only requests of a started application have the dependency `session`; in a WebSocket use"
                " `async with database.session()`"
            )
        state: MutableMapping[str, Any] = scope["state"]
        work = state.get(_KEY)
        if not isinstance(work, UnitOfWork):
            work = state[_KEY] = UnitOfWork(self._sessions, state, reads_only=scope.get("method") in _SAFE)
            exchange.add_gate(work.end_with, GateOrder.COMMIT)
            exchange.add_cleanup(work.abandon)
        return work.session


def _reason(error: Exception) -> str:
    if isinstance(error, DatabaseUnavailable):
        return error.reason
    # The lines after the first hold values.
    return str(getattr(error, "orig", None) or error).splitlines()[0]
