"""Statements of the queue while the database may be away."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starkeel_config import Backoff
from starkeel_db import DatabaseUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

AWAY: Final = Backoff(base_s=0.2, cap_s=30.0, jitter=0.5)
"""Pause between attempts while the database is away."""
_STATEMENT_S: Final = 10.0
"""Seconds in which the queue's own statements must be done."""


async def completed(run: Callable[[], Awaitable[T]]) -> T:
    """Run a function to its end, also if the task is cancelled meanwhile.

    Raises:
        TimeoutError: It took longer than `_STATEMENT_S`.
    """
    running = asyncio.ensure_future(_limited(run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(Exception):
            await running
        raise


async def _limited(run: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(_STATEMENT_S):
        return await run()


def log_failure(message: str, error: Exception) -> None:
    """Log that a statement of the queue failed; the database has logged an outage itself."""
    if isinstance(error, DatabaseUnavailable):
        log.debug(message, reason=error.reason)
    elif isinstance(error, SQLAlchemyError):
        # Such as a missing table; the readiness check reports it.
        log.error(message, error=type(getattr(error, "orig", None) or error).__name__)
    else:
        log.error(message, exc_info=error)
