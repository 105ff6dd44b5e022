"""Sessions that know their request."""

from collections.abc import Callable, MutableMapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry

from .._driver.autocommit_reads import read_plainly
from .._driver.sqlite import BEGIN, READING
from .._driver.statement_timeout import note_deadline

_STATE, _TIMEOUT, _IS_OVER = "starkeel_state", "starkeel_timeout_s", "starkeel_is_over"
_READS_PLAINLY, _HAS_FAILED = "starkeel_reads_plainly", "starkeel_has_failed"
_OF_SESSION, _KNOWS_LIMITS = "starkeel_session", "starkeel_knows_limits"
_ACTIONS: Final = "starkeel_after_commit"
_ANYTHING = text("SELECT 1")


class UnitOfWorkIsOverError(RuntimeError):
    """A session was used after its response had started: what it wrote could never be committed."""

    def __init__(self) -> None:
        super().__init__(
            "the response has started and its unit of work is over; in streams and background tasks use "
            "`async with database.session()` (the dependency `database` is the DatabasePlugin)"
        )


class RequestSession(Session):
    """The synchronous side of our sessions."""

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return what to take a connection from; asked before one is taken."""
        if self.info.get(_IS_OVER):
            raise UnitOfWorkIsOverError
        return super().get_bind(*args, **kwargs)


@event.listens_for(RequestSession, "after_begin")
def _begin(session: Session, _: SessionTransaction, connection: Connection) -> None:
    info = session.info
    note_deadline(connection, info.get(_STATE), timeout_s=info[_TIMEOUT], is_in_force=info[_KNOWS_LIMITS])
    connection.info[_OF_SESSION] = info
    if info[_READS_PLAINLY]:
        read_plainly(connection)


@event.listens_for(RequestSession, "before_commit")
def _commit_no_failure(session: Session) -> None:
    # A transaction with an error that nobody rolled back: PostgreSQL takes COMMIT for ROLLBACK and says so to
    # nobody who does not look, but refuses whatever else it is asked.
    if session.info.pop(_HAS_FAILED, False):
        session.execute(_ANYTHING)


def note_failures(engine: Engine) -> None:
    """Have sessions know that a statement of theirs failed, whoever caught the error.

    Args:
        engine: Of a database in which an error is the end of its transaction.
    """

    @event.listens_for(engine, "handle_error")
    def note(context: ExceptionContext) -> None:
        connection = context.connection
        if connection is not None and not connection.invalidated:
            connection.info.get(_OF_SESSION, {})[_HAS_FAILED] = True

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        record.info.pop(_OF_SESSION, None)


class Sessions:
    """Makes sessions of an engine.

    Args:
        engine: The engine.
        statement_timeout_s: Seconds a statement may take by itself.
        knows_limits: Whether connections hold that by themselves, as they do but for a pooler between.
    """

    def __init__(self, engine: AsyncEngine, *, statement_timeout_s: float, knows_limits: bool = True) -> None:
        self._writing = self._reading = engine
        self._is_postgres = engine.dialect.name == "postgresql"
        if not self._is_postgres:
            self._reading = engine.execution_options(**{BEGIN: READING})
        self._statement_timeout_s = statement_timeout_s
        self._knows_limits = knows_limits or not self._is_postgres

    def make(
        self, state: MutableMapping[str, Any] | None = None, *, reads_only: bool = False
    ) -> AsyncSession:
        """Make a session; it takes a connection when it is first used.

        Args:
            state: The `state` of a request's scope, where its deadline stands.
            reads_only: Whether it may do without a transaction until it needs one; SQLite lets others write
                meanwhile.
        """
        return AsyncSession(
            self._reading if reads_only else self._writing,
            sync_session_class=RequestSession,
            # What a handler returns is rendered after the commit as well.
            expire_on_commit=False,
            info={
                _STATE: state,
                _TIMEOUT: self._statement_timeout_s,
                _KNOWS_LIMITS: self._knows_limits,
                _READS_PLAINLY: reads_only and self._is_postgres,
            },
        )


def end(session: AsyncSession) -> None:
    """Have a session refuse whatever it is used for from here on."""
    session.info[_IS_OVER] = True


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Run `action` once the session's work is committed; never, when it is rolled back.

    Args:
        session: The unit of work.
        action: Must neither block nor raise: the commit has happened.

    Raises:
        TypeError: The session is not one of a `DatabasePlugin`.
    """
    if not isinstance(session.sync_session, RequestSession):
        raise TypeError("only sessions of a DatabasePlugin tell when they commit")
    session.info.setdefault(_ACTIONS, []).append(action)


@event.listens_for(RequestSession, "after_commit")
def _act(session: Session) -> None:
    actions: list[Callable[[], None]] = session.info.pop(_ACTIONS, [])
    for action in actions:
        action()


@event.listens_for(RequestSession, "after_transaction_end")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_ACTIONS, None)
