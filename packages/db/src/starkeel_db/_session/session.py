"""Sessions: request deadline, failed statements, end of the unit of work, actions after the commit."""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry

from .._driver.autocommit_reads import read_plainly
from .._driver.sqlite import BEGIN, READING
from .._driver.statement_timeout import set_deadline

_STATE, _TIMEOUT, _IS_OVER = "starkeel_state", "starkeel_timeout_s", "starkeel_is_over"
_READS_PLAINLY, _HAS_FAILED = "starkeel_reads_plainly", "starkeel_has_failed"
_SESSION_INFO, _HAS_SESSION_LIMITS = "starkeel_session", "starkeel_has_session_limits"
_ACTIONS: Final = "starkeel_after_commit"
_ANY_STATEMENT = text("SELECT 1")


class UnitOfWorkIsOverError(RuntimeError):
    """A session was used after its response had started; its changes could no longer be committed."""

    def __init__(self) -> None:
        super().__init__(
            "the response has started and its unit of work is over; in streams and background tasks use "
            "`async with database.session()` (the dependency `database` is the DatabasePlugin)"
        )


class RequestSession(Session):
    """Synchronous session behind each `AsyncSession` of this package."""

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return the engine; called before a connection is checked out.

        Raises:
            UnitOfWorkIsOverError: The response has started.
        """
        if self.info.get(_IS_OVER):
            raise UnitOfWorkIsOverError
        return super().get_bind(*args, **kwargs)


@event.listens_for(RequestSession, "after_begin")
def _begin(session: Session, _: SessionTransaction, connection: Connection) -> None:
    info = session.info
    set_deadline(
        connection,
        info.get(_STATE),
        timeout_s=info[_TIMEOUT],
        is_session_default=info[_HAS_SESSION_LIMITS],
    )
    connection.info[_SESSION_INFO] = info
    if info[_READS_PLAINLY]:
        read_plainly(connection)


@event.listens_for(RequestSession, "before_commit")
def _refuse_failed_transaction(session: Session) -> None:
    # After an error PostgreSQL treats COMMIT as ROLLBACK without reporting an error, but refuses any other
    # statement.
    if session.info.pop(_HAS_FAILED, False):
        session.execute(_ANY_STATEMENT)


def note_failures(engine: Engine) -> None:
    """Mark sessions that had a failed statement, even if the handler caught the error.

    Args:
        engine: Engine of a database that aborts the transaction on an error.
    """

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

    Args:
        engine: The engine.
        statement_timeout_s: Statement timeout in seconds.
        has_session_limits: Whether connections have it as a session setting; not behind a pooler.
    """

    def __init__(
        self, engine: AsyncEngine, *, statement_timeout_s: float, has_session_limits: bool = True
    ) -> None:
        self._writing = self._reading = engine
        self._is_postgres = engine.dialect.name == "postgresql"
        if not self._is_postgres:
            self._reading = engine.execution_options(**{BEGIN: READING})
        self._statement_timeout_s = statement_timeout_s
        self._has_session_limits = has_session_limits or not self._is_postgres

    def make(
        self, state: MutableMapping[str, Any] | None = None, *, reads_only: bool = False
    ) -> AsyncSession:
        """Create a session; it checks out a connection when it is first used.

        Args:
            state: `state` of the request's scope, which has the deadline.
            reads_only: Whether the transaction may begin only when a statement needs it; on SQLite it
                takes the write lock only when it writes.
        """
        return AsyncSession(
            self._reading if reads_only else self._writing,
            sync_session_class=RequestSession,
            # The returned objects are serialized after the commit.
            expire_on_commit=False,
            info={
                _STATE: state,
                _TIMEOUT: self._statement_timeout_s,
                _HAS_SESSION_LIMITS: self._has_session_limits,
                _READS_PLAINLY: reads_only and self._is_postgres,
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
