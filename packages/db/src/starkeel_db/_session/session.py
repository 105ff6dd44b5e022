"""Sessions: request deadline, failed statements, end of the unit of work, actions after the commit."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry

from .._driver.pool import ElasticPool
from .._driver.statement_timeout import is_shortened, set_deadline
from .._driver.transactions import BEGIN, READ_ONLY, READING

_STATE, _TIMEOUT, _IS_OVER = "starkeel_state", "starkeel_timeout_s", "starkeel_is_over"
_POOL, _HAS_FAILED = "starkeel_pool", "starkeel_has_failed"
_SESSION_INFO, _HAS_SESSION_SETTINGS = "starkeel_session", "starkeel_has_session_settings"
_ACTIONS: Final = "starkeel_after_commit"
_READ_ONLY_ROUTE: Final = "starkeel_db.read_only"
_ANY_STATEMENT = text("SELECT 1")


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


def is_read_only(opt: Mapping[str, Any]) -> bool:
    """Return whether a route has the option `read_only`."""
    found: bool = opt.get(_READ_ONLY_ROUTE, False)
    return found


class RequestSession(Session):
    """Synchronous session behind each `AsyncSession` of this package."""

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return the engine; called before a connection is checked out.

        Raises:
            UnitOfWorkIsOverError: The response has started.
        """
        if self.info.get(_IS_OVER):
            raise UnitOfWorkIsOverError
        pool: ElasticPool = self.info[_POOL]
        pool.prefer_read_only = self.info[READ_ONLY]
        return super().get_bind(*args, **kwargs)


@event.listens_for(RequestSession, "after_begin")
def _begin(session: Session, _: SessionTransaction, connection: Connection) -> None:
    info = session.info
    # Without a transaction a timeout could only be set for the session.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        set_deadline(
            connection,
            info.get(_STATE),
            timeout_s=info[_TIMEOUT],
            is_session_default=info[_HAS_SESSION_SETTINGS],
        )
    connection.info[_SESSION_INFO] = info


@event.listens_for(RequestSession, "before_commit")
def _refuse_failed_transaction(session: Session) -> None:
    # After an error PostgreSQL treats COMMIT as ROLLBACK without reporting an error, but refuses any other
    # statement.
    if session.info.pop(_HAS_FAILED, False):
        session.execute(_ANY_STATEMENT)


def note_failures(engine: Engine) -> None:
    """Mark sessions that had a failed statement, even if the handler caught the error."""

    @event.listens_for(engine, "handle_error")
    def note(context: ExceptionContext) -> None:
        connection = context.connection
        if connection is not None and not connection.invalidated:
            connection.info.get(_SESSION_INFO, {})[_HAS_FAILED] = True

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        record.info.pop(_SESSION_INFO, None)


class Sessions:
    """Session factory of an engine.

    `has_session_settings` is False behind a pooler in transaction mode, where session settings do not last.
    """

    def __init__(
        self, engine: AsyncEngine, *, statement_timeout_s: float, has_session_settings: bool = True
    ) -> None:
        is_postgres = engine.dialect.name == "postgresql"
        self._read_write = self._safe = engine
        self._read_only_transaction = self._read_only = engine.execution_options(**{READ_ONLY: True})
        if not is_postgres:
            self._safe = engine.execution_options(**{BEGIN: READING})
            self._read_only = self._read_only.execution_options(**{BEGIN: READING})
            self._read_only_transaction = self._read_only
        elif has_session_settings:
            # Without BEGIN and COMMIT; the mode of the connection refuses writes.
            self._read_only = self._read_only.execution_options(isolation_level="AUTOCOMMIT")
        else:
            self._read_only = self._read_only.execution_options(postgresql_readonly=True)
            self._read_only_transaction = self._read_only
        self._statement_timeout_s = statement_timeout_s
        self._has_session_settings = has_session_settings or not is_postgres
        self._pool = engine.sync_engine.pool

    def make(
        self,
        state: MutableMapping[str, Any] | None = None,
        *,
        read_only: bool = False,
        is_safe: bool = False,
    ) -> AsyncSession:
        """Create a session; it checks out a connection when it is first used.

        Args:
            state: `state` of the request's scope, which has the deadline.
            read_only: Whether the database must refuse writes.
            is_safe: Whether the request method is safe (RFC 9110): on SQLite the transaction takes the write
                lock only when it writes.
        """
        engine = self._safe if is_safe else self._read_write
        if read_only:
            # A shorter statement timeout needs a transaction.
            is_short = is_shortened(state, self._statement_timeout_s)
            engine = self._read_only_transaction if is_short else self._read_only
        return AsyncSession(
            engine,
            sync_session_class=RequestSession,
            # The returned objects are serialized after the commit.
            expire_on_commit=False,
            info={
                _STATE: state,
                _TIMEOUT: self._statement_timeout_s,
                _HAS_SESSION_SETTINGS: self._has_session_settings,
                _POOL: self._pool,
                READ_ONLY: read_only and self._has_session_settings,
            },
        )


def end(session: AsyncSession) -> None:
    """End the unit of work: any further use of the session raises `UnitOfWorkIsOverError`."""
    session.info[_IS_OVER] = True


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Run `action` after the session is committed; it is discarded on a rollback.

    Args:
        session: Session of the unit of work.
        action: Must neither block nor raise: the commit cannot be undone.

    Raises:
        TypeError: The session was not created by a `DatabasePlugin`.
    """
    if not isinstance(session.sync_session, RequestSession):
        raise TypeError("after_commit needs a session of a DatabasePlugin")
    session.info.setdefault(_ACTIONS, []).append(action)


@event.listens_for(RequestSession, "after_commit")
def _run_actions(session: Session) -> None:
    actions: list[Callable[[], None]] = session.info.pop(_ACTIONS, [])
    for action in actions:
        action()


@event.listens_for(RequestSession, "after_transaction_end")
def _discard_actions(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_ACTIONS, None)
