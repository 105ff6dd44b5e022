"""Why the database cannot be used, for requests and for the start."""

from typing import Literal

from litestar.exceptions import ServiceUnavailableException

RETRY_AFTER_S = 1
"""Seconds after which a client may ask again: an outage is usually a restart or a full pool."""

Conflict = Literal["deadlock", "serialization"]


class DatabaseUnavailable(ServiceUnavailableException):
    """The database cannot be used at the moment: it is away, busy, or cut the connection.

    Raised wherever it is met, in place of the driver's error. Uncaught it is a 503 with `Retry-After`.

    Attributes:
        reason: What happened, for logs; holds no secret, but is not for clients.
        is_lasting: Whether waiting will not help: the address or the credentials are wrong, or the file is.
        conflict: What kind of conflict with another transaction this one lost, where that is all: done again,
            it may well succeed.
    """

    def __init__(self, reason: str, *, is_lasting: bool = False, conflict: Conflict | None = None) -> None:
        super().__init__(
            "The database cannot be used at the moment.", headers={"Retry-After": str(RETRY_AFTER_S)}
        )
        self.reason = reason
        self.is_lasting = is_lasting
        self.conflict = conflict


class NotADatabase(DatabaseUnavailable):
    """The file is something else."""


class DatabaseError(Exception):
    """Base of what keeps a service from starting; its text is one line and holds no secret.

    Attributes:
        exit_code: What the process exits with.
    """

    exit_code = 69


class DatabaseAwayError(DatabaseError):
    """The database did not answer in time."""


class NotADatabaseError(DatabaseError):
    """The file that was named is something else."""

    exit_code = 65


class MigrationError(DatabaseError):
    """The schema cannot be brought to what the code needs."""

    exit_code = 65


class NewerDatabaseError(MigrationError):
    """The database knows revisions that the code does not: the code is older than what migrated it."""


class SchemaBehindError(DatabaseError):
    """Revisions that the code needs are not applied yet.

    Attributes:
        missing: Their names, the oldest first.
    """

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"the database lacks {'revision' if len(missing) == 1 else 'revisions'} "
            f"{', '.join(missing)}: run the `migrate` verb, or set RUN_MIGRATIONS=true"
        )
        self.missing = missing


def sqlite_code(error: BaseException) -> int:
    """What went wrong, as SQLite's primary result codes have it; 0, which is none, for any other error."""
    code: object = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0
