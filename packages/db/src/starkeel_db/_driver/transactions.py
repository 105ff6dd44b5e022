"""Begin of transactions: SQLite's write lock, and the read-only mode of connections."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

from .._base.errors import DatabaseUnavailable, reason_of

BEGIN: Final = "starkeel_sqlite_begin"
"""Execution option: the statement that begins a transaction on SQLite."""
READING: Final = "BEGIN"
WRITING: Final = "BEGIN IMMEDIATE"

READ_ONLY: Final = "starkeel_read_only"
"""Execution option: the database must refuse writes. Also the key of the mode in a connection's `info`."""
_SWITCH: Final = {
    # RESET and not OFF: the server's own default may be on, during maintenance.
    "postgresql": {
        True: "SET default_transaction_read_only = on",
        False: "RESET default_transaction_read_only",
    },
    "sqlite": {True: "PRAGMA query_only = ON", False: "PRAGMA query_only = OFF"},
}


def begin_explicitly(engine: Engine) -> None:
    """Begin transactions with the statement of the `BEGIN` option, by default with `BEGIN IMMEDIATE`.

    A transaction that reads first and writes later fails at once if another one wrote in between, whatever
    the busy timeout; one that takes the write lock first waits for it.
    """

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, WRITING))


def switch_read_only(engine: Engine, *, on_failure: Callable[[str], None]) -> None:
    """Switch a connection to the mode of the `READ_ONLY` option before its transaction begins.

    The mode is a session setting and stays until a transaction needs the other one, so most transactions find
    it set. A switch costs a round trip.
    `on_failure` is called with the reason when a switch fails.
    """
    statements = _SWITCH[engine.dialect.name]

    @event.listens_for(engine, "begin")
    def switch(connection: Connection) -> None:
        is_read_only = connection.get_execution_options().get(READ_ONLY, False)
        info = connection.info
        if info.get(READ_ONLY, False) is is_read_only:
            return
        # Unknown until the switch has succeeded: it may be cancelled.
        info[READ_ONLY] = None
        adapted: Any = connection.connection.dbapi_connection
        try:
            # On the driver's connection: SQLAlchemy's cursor would begin the transaction.
            adapted.run_async(lambda driver: driver.execute(statements[is_read_only]))
        except BaseException as error:
            # As SQLAlchemy does: a cancelled statement leaves the connection in an unknown state.
            connection.invalidate(error)
            if not isinstance(error, Exception):
                raise
            reason = reason_of(error)
            on_failure(reason)
            raise DatabaseUnavailable(reason) from error
        info[READ_ONLY] = is_read_only
