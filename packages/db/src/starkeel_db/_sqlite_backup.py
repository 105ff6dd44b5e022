"""Online backup and offline restore of an SQLite file."""

import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ._base.dsn import DatabaseUrl, PostgresUrl
from ._base.errors import DatabaseError, NotADatabaseError, sqlite_code
from ._driver.sqlite import require_folder
from ._migrations.scripts import Scripts

_WAIT_S = 5.0


class BackupError(DatabaseError):
    """A backup or restore failed; the existing files are unchanged."""

    exit_code = 1


def sqlite_file(target: DatabaseUrl, *, instead: str) -> Path:
    """Return the file of a database.

    Raises:
        BackupError: The database is PostgreSQL; the message names the command to use `instead`.
    """
    if isinstance(target, PostgresUrl):
        raise BackupError(f"DATABASE_URL is PostgreSQL: use `{instead}`")
    return target.path


def back_up(database: Path, file: Path) -> None:
    """Copy a database, which may be in use, to a file, which is replaced atomically.

    The backup is readable by its owner only.

    Raises:
        BackupError: The backup failed.
        NotADatabaseError: `database` is not a database.
    """
    if not database.is_file():
        raise BackupError(f"no database exists at {database}")
    if file.exists() and file.samefile(database):
        raise BackupError(f"{file} is the database itself")
    part = file.with_name(f"{file.name}.part")
    with _mapped_errors(database):
        _check_format(database)
    with _mapped_errors(file), _removed(part):
        part.touch(mode=0o600)
        part.chmod(0o600)
        with closing(_opened(database)) as source, closing(_opened(part)) as target:
            # In one step: readers do not block writers in WAL mode, and every write restarts a stepwise copy.
            source.backup(target)
            # A single file, which does not depend on a `-wal` file.
            target.execute("PRAGMA journal_mode = DELETE")
        _sync(part)
        _check_integrity(part)
        os.replace(part, file)
        _sync(file.parent)


def restore(database: Path, file: Path, scripts: Scripts) -> Path | None:
    """Replace a database, which no process may have open, with a backup; return that of the previous one.

    Raises:
        BackupError: The restore failed.
        NotADatabaseError: The file is not a database of this service.
        NewerDatabaseError: The backup has a newer schema than the code.
    """
    if not file.is_file():
        raise BackupError(f"{file} does not exist")
    if database.exists() and file.samefile(database):
        raise BackupError(f"{file} is the database itself")
    with _mapped_errors(file):
        _check_integrity(file)
        _check_revisions(file, scripts)
    kept = None
    with _mapped_errors(database):
        if database.exists():
            kept = _kept(database)
        require_folder(database)
        with _exclusive(database) as target, closing(_opened(file)) as source:
            # One transaction: an interrupted restore leaves the previous content.
            source.backup(target)
        _check_integrity(database)
    return kept


def _kept(database: Path) -> Path:
    """Back up the database that a restore replaces; return the file."""
    kept = database.with_name(f"{database.name}.before-restore")
    try:
        with _mapped_errors(database), _exclusive(database):
            pass
        back_up(database, kept)
    except NotADatabaseError as error:
        raise NotADatabaseError(
            f"{database}, which the backup would replace, is damaged: move it and its `-wal` and `-shm` files"
            " to another folder, and restore again"
        ) from error
    return kept


def _check_format(file: Path) -> None:
    """Read the first page, which has the format, and fails for a file that is no database."""
    with closing(_opened(file)) as connection:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


def _check_integrity(file: Path) -> None:
    with closing(_opened(file)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise NotADatabaseError(f"{file} is damaged: {found[0]}")
        if connection.execute("PRAGMA foreign_key_check").fetchone():
            raise NotADatabaseError(f"{file} is damaged: it has a row with a dangling foreign key")


def _check_revisions(file: Path, scripts: Scripts) -> None:
    with closing(_opened(file)) as connection:
        has_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.execute(has_table, (scripts.version_table,)).fetchone() is None:
            raise NotADatabaseError(
                f"{file} is not a database of this service: it has no table {scripts.version_table}"
            )
        applied = connection.execute(f"SELECT version_num FROM {scripts.version_table}").fetchall()  # noqa: S608 - made from a module name
    scripts.missing(frozenset(row[0] for row in applied))


@contextmanager
def _exclusive(database: Path) -> Generator[sqlite3.Connection]:
    """Open or create a database with an exclusive lock."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=0)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Fails while another connection is open: leaving WAL mode needs exclusive access.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        connection.close()
        if sqlite_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise BackupError(f"another process has {database} open: stop the service first") from error
        raise
    with closing(connection):
        yield connection


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(file))}?mode=rw", uri=True, isolation_level=None, timeout=_WAIT_S
    )


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _removed(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                part.with_name(part.name + suffix).unlink()


@contextmanager
def _mapped_errors(file: Path) -> Iterator[None]:
    """Raise the errors of SQLite and of the system as those of this file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if sqlite_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise NotADatabaseError(f"{file} is not an SQLite database, or damaged") from error
        raise BackupError(f"{file}: {error}") from error
    except OSError as error:
        raise BackupError(f"{error.filename or file}: {error.strerror or error}") from error
