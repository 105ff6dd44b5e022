"""Undocumented names of SQLAlchemy and aiosqlite that this package uses; `check` probes each of them."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import requires, version
from threading import Thread
from typing import Any, Final, Literal

from sqlalchemy import URL
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from ._base.errors import DatabaseError

_PACKAGE: Final = "starkeel-db"


class UnsupportedLibraryError(DatabaseError):
    """The installed release of a library changed a name that this package uses."""

    exit_code = 1

    def __init__(self, distribution: str, effect: str) -> None:
        allowed = [text for text in requires(_PACKAGE) or () if text.startswith(distribution)]
        super().__init__(
            f"{_PACKAGE} does not support {distribution} {version(distribution)}: {effect}. Install another"
            f" release of `{(*allowed, distribution)[0]}`, or upgrade {_PACKAGE}"
        )


class ExtensiblePool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool with access to its idle connections and to its size.

    Its `_do_get` checks out a connection; a subclass may extend it.
    """

    def on_free(self) -> None:
        """Called when a connection was returned or removed."""

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        self.on_free()

    def _dec_overflow(self) -> Literal[True]:
        is_reduced = super()._dec_overflow()
        self.on_free()
        return is_reduced

    def put(self, record: ConnectionPoolEntry) -> None:
        """Return a connection to the top of the pool, without events."""
        self._do_return_conn(record)

    def take_idle(self) -> ConnectionPoolEntry:
        """Remove the idle connection at the top of the pool, without events."""
        return self._pool.get(block=False)

    def create(self) -> ConnectionPoolEntry | None:
        """Open a connection, unless the pool has its maximum size."""
        if not self._inc_overflow():
            return None
        try:
            return self._create_connection()
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Reduce the size by a connection that was removed."""
        self._dec_overflow()


def connect_unnamed(dbapi: Any, open_connection: Callable[[], Awaitable[Any]]) -> Any:
    """Open a connection to PostgreSQL whose statements are prepared without a name."""
    return dbapi.connect(
        async_creator_fn=open_connection,
        prepared_statement_cache_size=0,
        prepared_statement_name_func=lambda: "",
    )


def invalidate_plans(dialect: Any, cursor: Any) -> None:
    """Prepare all statements of asyncpg's dialect again; `cursor` may execute one at once."""
    dialect._invalidate_schema_cache()  # noqa: SLF001
    cursor._invalidate_schema_cache_asof = dialect._invalidate_schema_cache_asof  # noqa: SLF001


def set_daemon(connection: Any) -> None:
    """Keep the thread of an aiosqlite connection, not started yet, from delaying the exit of the process."""
    connection._thread.daemon = True  # noqa: SLF001


@cache
def check(url: URL) -> None:
    """Probe the names above, once per process, for the dialect and the driver of a URL.

    Raises:
        UnsupportedLibraryError: The installed release of a library changed one of them.
    """
    _require(_is_pool_known, "sqlalchemy", "the internals of its pool have changed")
    if url.get_backend_name() == "sqlite":
        _require(_is_thread_known, "aiosqlite", "a connection has no `_thread`, which could delay the exit")
    else:
        dbapi = url.get_dialect().import_dbapi()
        effect = "its adapter of asyncpg does not accept `async_creator_fn`, which DB_PGBOUNCER requires"
        _require(lambda: _is_creator_known(dbapi), "sqlalchemy", effect)
        effect = "the invalidation of its prepared statements has changed"
        _require(lambda: _is_invalidation_known(url), "sqlalchemy", effect)


def _require(probe: Callable[[], bool], distribution: str, effect: str) -> None:
    try:
        is_known, cause = probe(), None
    except Exception as error:  # noqa: BLE001 - whatever a changed library raises
        is_known, cause = False, error
    if not is_known:
        raise UnsupportedLibraryError(distribution, effect) from cause


def _is_pool_known() -> bool:
    """Open, check out, return and remove two placeholders of connections."""
    placeholder: Any = object
    pool = ExtensiblePool(placeholder, pool_size=2, max_overflow=0, use_lifo=True)
    opened = []
    for _ in range(2):
        record = pool.create()
        assert record is not None
        pool.put(record)
        opened.append(record)
    is_known = pool._do_get() is opened[1] and pool.checkedout() == 1  # noqa: SLF001
    pool.put(opened[1])
    is_known &= pool.create() is None and (pool.checkedin(), pool.checkedout()) == (2, 0)
    for record in reversed(opened):
        is_known &= pool.take_idle() is record
        pool.forget()
    return is_known and (pool.checkedin(), pool.checkedout()) == (0, 0)


def _is_thread_known() -> bool:
    import aiosqlite

    connection: Any = aiosqlite.connect(":memory:")
    set_daemon(connection)
    return isinstance(connection._thread, Thread) and connection._thread.daemon  # noqa: SLF001


def _is_creator_known(dbapi: Any) -> bool:
    calls = []

    def open_connection() -> Any:
        calls.append(1)
        raise ConnectionError

    with suppress(ConnectionError):
        connect_unnamed(dbapi, open_connection)
    return bool(calls)


def _is_invalidation_known(url: URL) -> bool:
    from types import SimpleNamespace

    dialect, cursor = url.get_dialect()(), SimpleNamespace(_invalidate_schema_cache_asof=0)
    invalidate_plans(dialect, cursor)
    return bool(cursor._invalidate_schema_cache_asof)  # noqa: SLF001
