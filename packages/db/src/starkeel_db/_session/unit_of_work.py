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

from .._base.errors import DatabaseUnavailable
from .conflict_retry import Attempts, ConflictLost, attempts_of
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


async def close(session: AsyncSession) -> None:
    """Roll back what is open and give the connection back, whatever is being cancelled, within a time."""
    with anyio.move_on_after(CLOSE_S, shield=True) as scope:
        await session.close()
    if scope.cancelled_caught:
        log.warning("connection dropped: it could not be given back in time")
        with anyio.move_on_after(CLOSE_S, shield=True):
            await session.invalidate()


class UnitOfWorkMiddleware(ASGIMiddleware):
    """Gives every matched route a unit of work, which ends with the first byte of its response.

    Args:
        sessions: What makes sessions while the application runs.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, sessions: Callable[[], Sessions]) -> None:
        self._sessions = sessions

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one request, several times if it loses conflicts and may be repeated."""
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
        work = state[_KEY] = UnitOfWork(self._sessions, state, reads_only=scope.get("method") in _SAFE)

        async def send_when_committed(message: Message) -> None:
            if message["type"] == "http.response.start" and not work.is_over:
                try:
                    await work.finish(succeeded=message["status"] < _FIRST_ERROR)
                except Exception:
                    # Litestar noted the start before it came here. Nothing was sent, so it may still answer
                    # with the error, which is what comes through here next.
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
        ImproperlyConfiguredException: A WebSocket has none: it would keep a connection while it lives.
    """
    work = scope["state"].get(_KEY)
    if not isinstance(work, UnitOfWork):
        raise ImproperlyConfiguredException(
            "only requests have the dependency `session`; in a WebSocket use `async with database.session()`"
        )
    return work.session


def _reason(error: Exception) -> str:
    if isinstance(error, DatabaseUnavailable):
        return error.reason
    # The lines after the first hold values.
    return str(getattr(error, "orig", None) or error).splitlines()[0]
