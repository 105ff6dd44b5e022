"""One session for a request, committed before its response starts."""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

import anyio
import structlog
from litestar.exceptions import ImproperlyConfiguredException
from litestar.types import Scope
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_asgi import GateOrder, HttpExchange, Response, current

from .._base.errors import reason_of
from .session import Sessions, end, is_read_only

log = structlog.get_logger(__name__)

CLOSE_S = 2.0
"""Seconds to wait for a connection to be released; then it is dropped."""
_KEY: Final = "starkeel_db"
_FIRST_ERROR = 400
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class UnitOfWork:
    """Transaction of a request."""

    __slots__ = ("_is_safe", "_read_only", "_session", "_sessions", "_state", "is_over")

    def __init__(
        self,
        sessions: Callable[[], Sessions],
        state: MutableMapping[str, Any],
        *,
        read_only: bool,
        is_safe: bool,
    ) -> None:
        self._sessions = sessions
        self._state = state
        self._session: AsyncSession | None = None
        self.is_over = False
        self._read_only = read_only
        self._is_safe = is_safe

    @property
    def session(self) -> AsyncSession:
        """Session of the request, created at first use."""
        if self._session is None:
            self._session = self._sessions().make(
                self._state, read_only=self._read_only, is_safe=self._is_safe
            )
            if self.is_over:
                end(self._session)
        return self._session

    async def finish(self, *, succeeded: bool) -> None:
        """Commit or roll back, and release the connection; does nothing when called again.

        Raises:
            DatabaseUnavailable: The database was unavailable at the commit.
            SQLAlchemyError: The commit was refused, for example by a deferred constraint.
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
            log.error("commit failed", error=type(error).__name__, reason=reason_of(error))
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
    """Roll back and release the connection, shielded from cancellation, within `CLOSE_S`."""
    with anyio.move_on_after(CLOSE_S, shield=True) as scope:
        await session.close()
    if scope.cancelled_caught:
        log.warning("connection dropped: release timed out")
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
            work = state[_KEY] = UnitOfWork(
                self._sessions,
                state,
                read_only=is_read_only(scope["route_handler"].opt),
                is_safe=scope.get("method") in _SAFE,
            )
            exchange.add_gate(work.end_with, GateOrder.COMMIT)
            exchange.add_cleanup(work.abandon)
        return work.session
