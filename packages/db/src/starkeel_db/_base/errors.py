"""Errors raised to request handlers and at start."""

from typing import Literal

from litestar.exceptions import ServiceUnavailableException

RETRY_AFTER_S = 1
"""Seconds in `Retry-After`: most outages are a restart or a full pool."""

Conflict = Literal["deadlock", "serialization", "schema_change"]


class DatabaseUnavailable(ServiceUnavailableException):
    """The database cannot be used at the moment: it is unreachable, overloaded, or closed the connection.

    Raised in place of the driver's error. Unhandled, it becomes a 503 with `Retry-After`.

    Attributes:
        reason: Cause, for logs; holds no secret, but is not meant for clients.
        is_lasting: Whether waiting is useless: the address, the credentials or the file is wrong.
        conflict: Kind of transaction conflict, if that was the cause: a retry may succeed. `schema_change`
            is a statement that was prepared before the schema changed.
    """

    def __init__(self, reason: str, *, is_lasting: bool = False, conflict: Conflict | None = None) -> None:
        super().__init__(
            "The database cannot be used at the moment.", headers={"Retry-After": str(RETRY_AFTER_S)}
        )
        self.reason = reason
        self.is_lasting = is_lasting
        self.conflict = conflict


class NotADatabase(DatabaseUnavailable):
    """The file is not an SQLite database."""


class ReadOnlySessionError(RuntimeError):
    """A read-only session executed a statement that writes or locks rows; the statement had no effect."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}: the session is read-only; remove `opt=read_only()` from the route, or the argument "
            "`reads_only=True` of `database.session()`"
        )


class CommitRefusedError(RuntimeError):
    """The last statement of a transaction refused its commit, see `send_with_commit`; it was rolled back."""


class DatabaseError(Exception):
    """Base of the errors that prevent a start; the message is one line and holds no secret.

    Attributes:
        exit_code: Exit code of the process.
    """

    exit_code = 69


class DatabaseUnreachableError(DatabaseError):
    """The database did not answer in time."""


class NotADatabaseError(DatabaseError):
    """The given file is not a database of this service."""

    exit_code = 65


class MigrationError(DatabaseError):
    """The schema cannot be migrated to the version that the code needs."""

    exit_code = 65


class NewerDatabaseError(MigrationError):
    """The database has revisions that the code does not have: it was migrated by a newer release."""


class SchemaBehindError(DatabaseError):
    """The database lacks revisions that the code needs.

    Args:
        missing: Names of the missing revisions, oldest first.
        service: Name of the service's package, for the command that applies them.

    Attributes:
        missing: Names of the missing revisions, oldest first.
    """

    def __init__(self, missing: list[str], *, service: str) -> None:
        super().__init__(
            f"the database lacks {'revision' if len(missing) == 1 else 'revisions'} "
            f"{', '.join(missing)}: run `python -m {service} migrate`, or set RUN_MIGRATIONS=true"
        )
        self.missing = missing


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's error that SQLAlchemy has wrapped; the error itself if it is no wrapper.

    SQLAlchemy's property `driver_exception` raises for wrappers that were created without an original error.
    """
    while "orig" in (attributes := getattr(error, "__dict__", {})):
        original = attributes["orig"] or error.__cause__
        if not isinstance(original, BaseException):
            break
        error = original
    return error


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's error code of an error; None if it is not an error of the server."""
    state = _attribute(error, "sqlstate")
    return state if isinstance(state, str) else None


def sqlite_code(error: BaseException) -> int:
    """Return SQLite's primary result code of an error; 0 if it is not an error of SQLite."""
    code = _attribute(error, "sqlite_errorcode")
    return code & 0xFF if isinstance(code, int) else 0


def reason_of(error: BaseException) -> str:
    """Return the first line of the driver's message; further lines may contain values."""
    if isinstance(error, DatabaseUnavailable):
        return error.reason
    original = driver_error(error)
    try:
        lines = str(original).splitlines()
    except Exception:  # noqa: BLE001 - an error that cannot be printed must not replace the failure
        lines = []
    return lines[0] if lines and lines[0] else type(original).__name__


def _attribute(error: BaseException, name: str) -> object:
    """Return an attribute of the driver's error, which may be a property that raises."""
    try:
        return getattr(driver_error(error), name, None)
    except Exception:  # noqa: BLE001 - whatever the property raises
        return None
