"""Waiting at the start until the database answers."""

import time

import anyio
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ._errors import DatabaseAwayError, DatabaseUnavailable, NotADatabase, NotADatabaseError
from ._settings import DatabaseSettings
from ._sqlite import BEGIN, READING
from ._url import SqliteUrl

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


async def wait_until_answering(engine: AsyncEngine, settings: DatabaseSettings) -> None:
    """Try until the database answers.

    Args:
        engine: Without a pool.
        settings: How long to wait.

    Raises:
        DatabaseAwayError: It did not within `DB_STARTUP_TIMEOUT_SECONDS`, or its file cannot be opened.
        NotADatabaseError: The file is something else: waiting does not help.
    """
    ends_at = time.monotonic() + settings.startup_timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        reason = await _attempt(engine, settings, left_s=ends_at - time.monotonic())
        if reason is None:
            return
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            waited = f"waited {settings.startup_timeout_s:g} s, DB_STARTUP_TIMEOUT_SECONDS"
            raise DatabaseAwayError(f"DATABASE_URL: {reason} ({waited})")
        log.warning("database not connected", reason=reason, seconds_left=round(left_s, 1))
        await anyio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _attempt(engine: AsyncEngine, settings: DatabaseSettings, *, left_s: float) -> str | None:
    """Ask once; why there was no answer."""
    try:
        with anyio.fail_after(max(0.1, left_s)):
            async with engine.execution_options(**{BEGIN: READING}).connect() as connection:
                # Reads the file's header, where there is one.
                is_file = isinstance(settings.target, SqliteUrl)
                await connection.execute(text("SELECT 1 FROM sqlite_master" if is_file else "SELECT 1"))
    except DatabaseUnavailable as error:
        if error.is_lasting and isinstance(settings.target, SqliteUrl):
            refusal = NotADatabaseError if isinstance(error, NotADatabase) else DatabaseAwayError
            raise refusal(f"DATABASE_URL: {error.reason}") from error
        return error.reason
    except TimeoutError:
        return f"{settings.target} does not answer"
    except (SQLAlchemyError, OSError) as error:
        return f"{settings.target}: {str(getattr(error, 'orig', None) or error).splitlines()[0]}"
    return None
