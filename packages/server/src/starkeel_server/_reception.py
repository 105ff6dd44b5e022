"""A worker's desk, put together: what it answers, and the levels that were set before it came."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar

from ._desk import Desk, desk_path
from ._hooks import Hooks
from ._levels import LevelsFile
from ._routes import routes_of

log = structlog.get_logger(__name__)


def opened_desk(
    directory: Path, slot: int, *, app: Litestar, hooks: Hooks, environ: Mapping[str, str]
) -> Desk:
    """Open a worker's desk, and take over the log levels that an operator has set.

    Args:
        directory: Main's.
        slot: The worker's place on the board.
        app: The application.
        hooks: Of its plugins.
        environ: The worker's environment.
    """

    def routes(_: Mapping[str, str]) -> dict[str, Any]:
        return {"routes": routes_of(app)}

    def set_log_levels(given: Mapping[str, str]) -> dict[str, Any]:
        hooks.set_log_levels(given["levels"])
        return {"levels": given["levels"]}

    own = {"routes": routes, "set_log_levels": set_log_levels}
    desk = Desk(desk_path(directory, slot), {**hooks.inquiries(), **own})
    # Between the two: levels that are set meanwhile are in the file, or asked for at the desk.
    levels = LevelsFile(directory).of(environ)
    if levels is not None:
        hooks.set_log_levels(levels)
        log.info("log levels taken over", levels=levels)
    desk.open()
    return desk
