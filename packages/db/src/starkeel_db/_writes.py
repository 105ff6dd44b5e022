"""Whether the database can be written to: told, but no reason to be sent no requests, as reads are served."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from litestar.plugins import InitPlugin
from sqlalchemy import text

from ._database import Database
from ._errors import DatabaseUnavailable

if TYPE_CHECKING:
    from prometheus_client import Gauge

_READ_ONLY = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")


class WritesCheck(InitPlugin):
    """A readiness check that decides nothing.

    Args:
        database: What gives the database while the application runs.
    """

    readiness_name = "database_writes"
    readiness_critical = False

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database

    async def check_ready(self) -> None:
        """Raise when the database takes no writes.

        Raises:
            DatabaseUnavailable: It takes none, or does not answer.
        """
        async with self._database().looking() as connection:
            is_read_only = await connection.scalar(_READ_ONLY)
        _writable().set(0 if is_read_only else 1)
        if is_read_only:
            raise DatabaseUnavailable("the database is read only")


@cache
def _writable() -> "Gauge":
    from prometheus_client import Gauge

    return Gauge(
        "db_writable", "Whether the database takes writes, as readiness saw it.", multiprocess_mode="livemin"
    )
