"""The schedule that deletes the rows whose time is over, of all plugins of a service."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

import structlog
from starkeel_config import RetentionHook

from ._definition import JobContext
from ._schedule import Schedule, schedule

log = structlog.get_logger(__name__)

_CATCH_UP: Final = timedelta(hours=23)
"""Rows that were not deleted while no process was running are deleted when one does."""


def retention(cron: str, plugins: Callable[[], Iterable[object]]) -> Schedule:
    """Return the schedule.

    Args:
        cron: Its times, in UTC.
        plugins: Returns the plugins of the application.

    Raises:
        ValueError: The expression is invalid.
    """

    @schedule(cron, timeout_s=3600.0, catch_up=_CATCH_UP)
    async def delete_old_rows(_: JobContext) -> None:
        for plugin in plugins():
            if isinstance(plugin, RetentionHook):
                deleted = 0
                # In batches, each in a transaction of its own: none is long.
                while count := await plugin.delete_old_rows():
                    deleted += count
                log.info("old rows deleted", plugin=type(plugin).__name__, rows=deleted)

    return delete_old_rows
