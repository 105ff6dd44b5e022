"""Copies of an SQLite file: made while it is in use, and put back while it is not."""

import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ._base.errors import DatabaseError, NotADatabaseError, sqlite_code
from ._migrations.scripts import Scripts

_WAIT_S = 5.0


class CopyError(DatabaseError):
    """A copy cannot be made, or not be put back; what was there is as it was."""

    exit_code = 1


def back_up(database: Path, file: Path) -> None:
    """Copy a database that may be in use to a file, which is replaced as a whole or not at all.

    Args:
        database: The database.
        file: Where to; readable by its owner only.

    Raises:
        CopyError: It cannot be done.
        NotADatabaseError: It is no database.
    """
    if not database.is_file():
        raise CopyError(f"there is no database at {database}")
    if file.exists() and file.samefile(database):
        raise CopyError(f"{file} is the database itself")
    part = file.with_name(f"{file.name}.part")
    with _told(database, file), _removed(part):
        part.touch(mode=0o600)
        part.chmod(0o600)
        _copy(database, part)
        _must_be_whole(part)
        os.replace(part, file)
        _sync(file.parent)


def restore(database: Path, file: Path, scripts: Scripts) -> Path | None:
    """Put a copy in the place of a database that no process has open.

    Args:
        database: The database; what is in it now is copied first.
        file: The copy.
        scripts: What the code knows of migrations.

    Returns:
        Where the copy of what was there is, if there was anything.

    Raises:
        CopyError: It cannot be done.
        NotADatabaseError: The file is no database, or not of this service.
        NewerDatabaseError: The copy is of a newer schema than the code's.
    """
    if not file.is_file():
        raise CopyError(f"there is no {file}")
    if database.exists() and file.samefile(database):
        raise CopyError(f"{file} is the database itself")
    with _told(database, file):
        _must_be_whole(file)
        _must_be_known(file, scripts)
        kept = None
        if database.exists():
            with _alone_with(database):
                pass
            kept = database.with_name(f"{database.name}.before-restore")
            back_up(database, kept)
        database.parent.mkdir(parents=True, exist_ok=True)
        with _alone_with(database) as target, closing(_opened(file)) as source:
            # In one transaction: whoever is interrupted leaves what was there.
            source.backup(target)
        _must_be_whole(database)
    return kept


def _copy(source: Path, target: Path) -> None:
    with closing(_opened(source)) as reading, closing(_opened(target)) as writing:
        # All at once: nobody waits for who reads, and in steps it would begin anew whenever somebody writes.
        reading.backup(writing)
        # One file, with no `-wal` beside it that it would be nothing without.
        writing.execute("PRAGMA journal_mode = DELETE")
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _must_be_whole(file: Path) -> None:
    with closing(_opened(file)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise NotADatabaseError(f"{file} is damaged: {found[0]}")
        if connection.execute("PRAGMA foreign_key_check").fetchone():
            raise NotADatabaseError(f"{file} is damaged: a row refers to one that is not there")


def _must_be_known(file: Path, scripts: Scripts) -> None:
    with closing(_opened(file)) as connection:
        is_there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.execute(is_there, (scripts.version_table,)).fetchone() is None:
            raise NotADatabaseError(f"{file} is not of this service: it has no table {scripts.version_table}")
        applied = connection.execute(f"SELECT version_num FROM {scripts.version_table}").fetchall()  # noqa: S608 - a module's name
    scripts.missing(frozenset(row[0] for row in applied))


@contextmanager
def _alone_with(database: Path) -> Generator[sqlite3.Connection]:
    """Open a database, which may be none yet, such that nobody else can."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=0)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Only who is alone may leave WAL, in which readers and writers share the file.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        connection.close()
        if sqlite_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise CopyError(f"a process has {database} open: stop the service first") from error
        raise
    with closing(connection):
        yield connection


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(file))}?mode=rw", uri=True, isolation_level=None, timeout=_WAIT_S
    )


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY)
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
def _told(database: Path, file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if sqlite_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise NotADatabaseError(f"{database} or {file} is no SQLite database, or damaged") from error
        raise CopyError(f"{database} and {file}: {error}") from error
    except OSError as error:
        raise CopyError(f"{error.filename or file}: {error.strerror or error}") from error
