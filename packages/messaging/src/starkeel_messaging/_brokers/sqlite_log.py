"""Events in an SQLite file, for services on one machine in development."""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Final, TypeVar

from starkeel_db import BrokerUnavailableError

from .base import MAX_READ_BYTES, Batch, Entry, Lag, Outgoing, malformed_position

T = TypeVar("T")

_POSITION: Final = re.compile(r"[0-9]{1,18}")
_POLL_S: Final = 0.05
_BUSY_S: Final = 5.0
_BUSY_AGAIN_S: Final = 0.01
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS identity (value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL,
    previous INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS ix_events_topic ON events (topic, position);
"""
_APPEND: Final = (
    "INSERT INTO events (topic, at, body, previous)"
    " SELECT ?, ?, ?, coalesce((SELECT last FROM topics WHERE topic = ?), 0)"
)
_READ: Final = (
    "SELECT position, body, previous FROM events WHERE topic = ? AND position > ? ORDER BY position LIMIT ?"
)
_MEASURE: Final = (
    "SELECT count(*), min(at), (SELECT last FROM topics WHERE topic = ?)"
    " FROM events WHERE topic = ? AND position > ?"
)
_BEFORE: Final = (
    "SELECT coalesce((SELECT min(position) - 1 FROM events WHERE topic = ? AND at >= ?),"
    " (SELECT last FROM topics WHERE topic = ?))"
)


class SqliteLog:
    """Keeps events in a file, which is created with its folder.

    Args:
        path: The file.
        kept_events: Number of events, of all topics together, that are kept.
        kept_s: Seconds for which they are kept.
    """

    def __init__(self, path: Path, *, kept_events: int, kept_s: float) -> None:
        self._path = path
        self._kept_events = kept_events
        self._kept_s = kept_s
        self._known_file: int | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Do nothing: each call opens the file, which another process may have deleted."""
        yield

    async def append(self, topic: str, events: Sequence[Outgoing]) -> None:
        """Append events in one transaction."""

        def append(connection: sqlite3.Connection) -> None:
            now = time.time()
            position = 0
            for event in events:
                position = connection.execute(_APPEND, (topic, now, event.body, topic)).lastrowid or 0
                connection.execute("INSERT OR REPLACE INTO topics VALUES (?, ?)", (topic, position))
            over = (position - self._kept_events, now - self._kept_s)
            connection.execute("DELETE FROM events WHERE position <= ? OR at < ?", over)

        await self._with_file(append)

    async def read(self, topic: str, *, after: str, limit: int, wait_s: float) -> Batch:
        """Return the events after a position; the file is polled."""

        def read(connection: sqlite3.Connection) -> list[tuple[int, bytes, int]]:
            rows: list[tuple[int, bytes, int]] = []
            left = MAX_READ_BYTES
            for row in connection.execute(_READ, (topic, int(after or 0), limit)):
                left -= len(row[1])
                if rows and left < 0:
                    break
                rows.append(row)
            return rows

        ends_at = time.monotonic() + wait_s
        while not (rows := await self._with_file(read)) and time.monotonic() < ends_at:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)  # another process may have appended
        # Before its first event a consumer expects only what is there.
        before = [int(after), *(position for position, _, _ in rows)] if after else []
        has_gap = any(previous > read for read, (_, _, previous) in zip(before, rows, strict=False))
        return Batch([Entry(str(position), body) for position, body, _ in rows], has_gap)

    async def lag(self, topic: str, *, after: str) -> Lag:
        """Count the events after a position."""

        def measure(connection: sqlite3.Connection) -> Lag:
            waiting, oldest, last = connection.execute(_MEASURE, (topic, topic, int(after or 0))).fetchone()
            if not waiting:
                return Lag(0, 0.0, has_gap=bool(after) and (last or 0) > int(after))
            return Lag(waiting, max(0.0, time.time() - oldest))

        return await self._with_file(measure)

    async def identity(self, topic: str, *, is_own: bool) -> str:
        """Return the identity of the file."""
        del topic, is_own

        def read(connection: sqlite3.Connection) -> str:
            return str(connection.execute("SELECT value FROM identity").fetchone()[0])

        return await self._with_file(read)

    def rewound(self, position: str, *, seconds: float) -> str:
        """Return the start: another file has other positions."""
        del position, seconds
        return ""

    async def before(self, topic: str, start: datetime | str) -> str:
        """Return the position of the last event before a time, or the number before a position."""
        if isinstance(start, str):
            if not _POSITION.fullmatch(start):
                raise malformed_position(start)
            return str(max(0, int(start) - 1))
        at = start.timestamp()

        def find(connection: sqlite3.Connection) -> int:
            return connection.execute(_BEFORE, (topic, at, topic)).fetchone()[0] or 0

        return str(await self._with_file(find))

    def order(self, position: str) -> tuple[int, ...]:
        """Return the number of a position."""
        return (int(position or 0),)

    async def _with_file(self, use: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as connection, connection:
                if self._known_file != (file := self._path.stat().st_ino):
                    _create(connection)
                    self._known_file = file
                return use(connection)

        try:
            return await asyncio.to_thread(run)
        except (sqlite3.Error, OSError) as error:
            raise BrokerUnavailableError(f"the file of the broker: {error}") from error


def _create(connection: sqlite3.Connection) -> None:
    _enable_wal(connection)
    connection.executescript(_SCHEMA)
    statement = "INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)"
    connection.execute(statement, (token_hex(8),))


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Enable write-ahead logging: readers do not block the writer, nor the writer readers."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The change locks the whole file, and SQLite does not apply the busy timeout to that lock.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_BUSY_AGAIN_S)
        else:
            return
