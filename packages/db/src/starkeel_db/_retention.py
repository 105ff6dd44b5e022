"""What is deleted by itself once its time is over."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import structlog
from sqlalchemy.exc import SQLAlchemyError

from ._base.errors import DatabaseUnavailable

log = structlog.get_logger(__name__)

_SWEEP_S = 2.0


@asynccontextmanager
async def swept(
    sweep: Callable[[], Awaitable[int]], what: str, *, every_s: float, at_once: int
) -> AsyncGenerator[None]:
    """Sweep now and then while the block runs; not at its beginning, which is busy enough.

    Args:
        sweep: Deletes some, and returns how many.
        what: For the log.
        every_s: Seconds between two sweeps, more or less: processes do not all come at once.
        at_once: How many it deletes when there are more.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_sweep, sweep, what, every_s, at_once)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def _sweep(sweep: Callable[[], Awaitable[int]], what: str, every_s: float, at_once: int) -> None:
    while True:
        await anyio.sleep(every_s * random.uniform(0.5, 1.5))  # noqa: S311 - nothing to guess
        try:
            while await _undisturbed(sweep) >= at_once:
                await anyio.lowlevel.checkpoint()
        except DatabaseUnavailable as error:
            log.debug("not swept", what=what, reason=error.reason)
        except SQLAlchemyError as error:
            log.warning("not swept", what=what, error=type(error).__name__)


async def _undisturbed(sweep: Callable[[], Awaitable[int]]) -> int:
    # A stop waits for it instead of abandoning a connection in the middle of a statement.
    with anyio.move_on_after(_SWEEP_S, shield=True):
        return await sweep()
    return 0
