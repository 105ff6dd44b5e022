"""One session for a request, committed before its response starts."""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

import anyio
import structlog
from litestar.enums import ScopeType
from litestar.exceptions import ImproperlyConfiguredException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState
from sqlalchemy.ext.asyncio import AsyncSession

from .._base.errors import reason_of
from .conflict_retry import Attempts, ConflictLost, attempts_of
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


async def close(session: AsyncSession) -> None:
    """Roll back and release the connection, shielded from cancellation, within `CLOSE_S`."""
    with anyio.move_on_after(CLOSE_S, shield=True) as scope:
        await session.close()
    if scope.cancelled_caught:
        log.warning("connection dropped: release timed out")
        with anyio.move_on_after(CLOSE_S, shield=True):
            await session.invalidate()


class UnitOfWorkMiddleware(ASGIMiddleware):
    """Gives each request a unit of work, which ends before the first byte of its response.

    Args:
        sessions: Returns the session factory of the running application.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, sessions: Callable[[], Sessions]) -> None:
        self._sessions = sessions

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Handle a request; retry it after a transaction conflict if its route allows that."""
        most = attempts_of(scope["route_handler"].opt)
        if most == 1:
            await self._serve(scope, receive, send, next_app)
            return
        attempts = Attempts(scope, receive, send, most=most)
        while True:
            try:
                await self._serve(scope, attempts.receive, attempts.send, next_app)
            except ConflictLost:
                await attempts.prepare_next()
            else:
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        state: MutableMapping[str, Any] = scope["state"]
        work = state[_KEY] = UnitOfWork(
            self._sessions,
            state,
            read_only=is_read_only(scope["route_handler"].opt),
            is_safe=scope.get("method") in _SAFE,
        )

        async def send_when_committed(message: Message) -> None:
            if message["type"] == "http.response.start" and not work.is_over:
                try:
                    await work.finish(succeeded=message["status"] < _FIRST_ERROR)
                except Exception:
                    # Litestar has recorded the start of the response, but nothing was sent: reset the record,
                    # so that its exception handler sends the error response.
                    ScopeState.from_scope(scope).response_started = False
                    raise
            await send(message)

        try:
            await next_app(scope, receive, send_when_committed)
        finally:
            await work.finish(succeeded=False)


def provide_session(scope: Scope) -> AsyncSession:
    """Return the session of a request's unit of work.

    Raises:
        ImproperlyConfiguredException: The connection is a WebSocket, which would occupy a database connection
            for its whole lifetime.
    """
    work = scope["state"].get(_KEY)
    if not isinstance(work, UnitOfWork):
        raise ImproperlyConfiguredException(
            "only requests have the dependency `session`; in a WebSocket use `async with database.session()`"
        )
    return work.session
