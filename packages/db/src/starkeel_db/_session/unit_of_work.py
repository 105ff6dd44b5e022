"""Units of work: one session for a request, committed before its response starts, and actions after it."""

from collections.abc import Callable, Hashable, MutableMapping
from typing import Any, Final

import structlog
from litestar.exceptions import ImproperlyConfiguredException
from litestar.types import Scope
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry
from starkeel_asgi import GateOrder, HttpExchange, Response, client_of, current

from .._base.settings import DatabaseSettings
from .._driver.pool import ElasticPool
from .._driver.transactions import BEGIN, READ_ONLY, READING, is_shortened, set_deadline
from .commits import Commits, close

log = structlog.get_logger(__name__)

_READ_ONLY_ROUTE: Final = "starkeel_db.read_only"
_UNIT_OF_WORK: Final = "starkeel_db"
_SESSION: Final = "starkeel_session"
_FIRST_ERROR: Final = 400
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ANY_STATEMENT: Final = text("SELECT 1")


class UnitOfWorkIsOverError(RuntimeError):
    """A session was used after its response had started; its changes could no longer be committed."""

    def __init__(self) -> None:
        super().__init__(
            "the response has started and its unit of work is over; in streams and background tasks use "
            "`async with database.session()` (the dependency `database` is the DatabasePlugin)"
        )


def read_only() -> dict[str, Any]:
    """Return an `opt` for a route that only reads: its session refuses writes with `ReadOnlySessionError`.

    Combine it with other options with `|`. On PostgreSQL statements run in autocommit mode, without the round
    trips of BEGIN and COMMIT, so each statement has a snapshot of its own, locks end with the statement, and
    savepoints and server-side cursors are not available. For one snapshot, begin a transaction first:
    `await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})`.
    """
    return {_READ_ONLY_ROUTE: True}


class RequestSession(Session):
    """Synchronous session behind each `AsyncSession` of this package."""

    is_over = False
    """Whether the response has started."""
    has_failed = False
    """Whether a statement failed, even if the handler caught the error."""

    def __init__(
        self,
        sessions: "Sessions",
        state: MutableMapping[str, Any] | None,
        *,
        client: Hashable,
        read_only: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.sessions = sessions
        self.client = client
        self.state = state
        self.read_only = read_only
        self.actions: list[Callable[[], None]] = []

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return the engine; called before a connection is checked out.

        Raises:
            UnitOfWorkIsOverError: The response has started.
        """
        if self.is_over:
            raise UnitOfWorkIsOverError
        self.sessions.pool.prefer_read_only, self.sessions.pool.client = self.read_only, self.client
        return super().get_bind(*args, **kwargs)


class Sessions:
    """Session factory of an engine."""

    def __init__(self, engine: AsyncEngine, pool: ElasticPool, settings: DatabaseSettings) -> None:
        self.pool = pool
        self.commits = Commits()
        self.is_postgres = is_postgres = engine.dialect.name == "postgresql"
        self.timeout_s = settings.statement_timeout_s
        # Behind a pooler in transaction mode session settings do not last.
        self.has_session_settings = has_session_settings = not settings.pgbouncer
        self._read_write = self._safe = engine
        read_only = engine.execution_options(**{READ_ONLY: True})
        if not is_postgres:
            self._safe = engine.execution_options(**{BEGIN: READING})
            read_only = read_only.execution_options(**{BEGIN: READING})
        elif not has_session_settings:
            read_only = read_only.execution_options(postgresql_readonly=True)
        self._read_only_transaction = self._read_only = read_only
        if is_postgres and has_session_settings:
            # Without BEGIN and COMMIT; the mode of the connection refuses writes.
            self._read_only = read_only.execution_options(isolation_level="AUTOCOMMIT")

    def make(
        self,
        state: MutableMapping[str, Any] | None = None,
        *,
        client: Hashable = None,
        read_only: bool = False,
        is_safe: bool = False,
    ) -> AsyncSession:
        """Create a session; it checks out a connection when it is first used.

        Args:
            state: `state` of the request's scope, which has the deadline.
            client: The client, which gets a connection in turn with others while none is free.
            read_only: Whether the database must refuse writes.
            is_safe: Whether the request method is safe (RFC 9110): on SQLite the transaction takes the write
                lock only when it writes.
        """
        engine = self._safe if is_safe else self._read_write
        if read_only:
            # A shorter statement timeout needs a transaction.
            is_short = is_shortened(state, self.timeout_s)
            engine = self._read_only_transaction if is_short else self._read_only
        return AsyncSession(
            engine,
            sync_session_class=RequestSession,
            # The returned objects are serialized after the commit.
            expire_on_commit=False,
            sessions=self,
            state=state,
            client=client,
            read_only=read_only and self.has_session_settings,
        )


@event.listens_for(RequestSession, "after_begin")
def _begin(session: RequestSession, _: SessionTransaction, connection: Connection) -> None:
    sessions = session.sessions
    if not sessions.is_postgres:
        return
    # Without a transaction a timeout could only be set for the session.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        set_deadline(
            connection,
            session.state,
            timeout_s=sessions.timeout_s,
            is_session_default=sessions.has_session_settings,
        )
    connection.info[_SESSION] = session


def note_failures(engine: Engine) -> None:
    """Mark PostgreSQL sessions that had a failed statement, even if the handler caught the error."""

    @event.listens_for(engine, "handle_error")
    def note(context: ExceptionContext) -> None:
        connection = context.connection
        if connection is not None and not connection.invalidated:
            session: RequestSession | None = connection.info.get(_SESSION)
            if session is not None:
                session.has_failed = True

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        record.info.pop(_SESSION, None)


@event.listens_for(RequestSession, "before_commit")
def _refuse_failed_transaction(session: RequestSession) -> None:
    # After an error PostgreSQL treats COMMIT as ROLLBACK without reporting an error, but refuses any other
    # statement.
    if session.has_failed:
        session.has_failed = False
        session.execute(_ANY_STATEMENT)


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Run `action` after the session is committed; it is discarded on a rollback.

    It must not block. An exception is logged: the commit cannot be undone, and the other actions run.

    Raises:
        TypeError: The session was not created by a `DatabasePlugin`.
    """
    if not isinstance(session.sync_session, RequestSession):
        raise TypeError("after_commit needs a session of a DatabasePlugin")
    session.sync_session.actions.append(action)


@event.listens_for(RequestSession, "after_commit")
def _run_actions(session: RequestSession) -> None:
    actions, session.actions = session.actions, []
    for action in actions:
        try:
            action()
        except Exception:
            log.exception("action after the commit failed")


@event.listens_for(RequestSession, "after_transaction_end")
def _discard_actions(session: RequestSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.actions = []


def is_postgres(session: AsyncSession | Session) -> bool:
    """Return whether the database of a session is PostgreSQL."""
    return session.get_bind().dialect.name == "postgresql"


class UnitOfWorkProvider:
    """Provides a request's session, which is committed before the response starts."""

    sessions: Sessions
    """Session factory; set before the application starts."""

    def request_session(self, scope: Scope) -> AsyncSession:
        """Return the session of a request's unit of work; the dependency `session`.

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
        work = state.get(_UNIT_OF_WORK)
        if not isinstance(work, UnitOfWork):
            is_read_only = scope["route_handler"].opt.get(_READ_ONLY_ROUTE, False)
            is_safe = scope.get("method") in _SAFE
            client = client_of(exchange)
            session = self.sessions.make(state, client=client, read_only=is_read_only, is_safe=is_safe)
            work = UnitOfWork(session, self.sessions.commits)
            state[_UNIT_OF_WORK] = work
            exchange.add_gate(work.end_with, GateOrder.COMMIT)
            exchange.add_cleanup(work.abandon)
        return work.session


class UnitOfWork:
    """Transaction of a request."""

    __slots__ = ("_commits", "_is_over", "session")

    def __init__(self, session: AsyncSession, commits: Commits) -> None:
        self.session = session
        self._commits = commits
        self._is_over = False

    async def end_with(self, response: Response) -> None:
        """Commit before a successful response starts, roll back before another.

        Raises:
            DatabaseUnavailable: The database was unavailable at the commit.
            SQLAlchemyError: The commit was refused, for example by a deferred constraint.
        """
        await self._end(succeeded=response.status < _FIRST_ERROR)

    async def abandon(self) -> None:
        """Roll back what was not committed."""
        await self._end(succeeded=False)

    async def _end(self, *, succeeded: bool) -> None:
        if self._is_over:
            return
        self._is_over = True
        session = self.session
        try:
            if succeeded and session.in_transaction():
                await self._commits.commit(session)
        finally:
            session.sync_session.is_over = True  # type: ignore[attr-defined]  # a RequestSession
            if session.in_transaction() and not self._commits.is_running(session):
                await close(session)
