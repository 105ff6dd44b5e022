"""A worker's desk, put together: what it answers, and the levels that were set before it came."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute

from .._app.plugin_hooks import PluginHooks
from .._control.log_levels import LogLevelsFile
from .._control.server import ControlServer, control_socket_path

log = structlog.get_logger(__name__)


def start_control_server(
    directory: Path, slot: int, *, app: Litestar, hooks: PluginHooks, environ: Mapping[str, str]
) -> ControlServer:
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
    desk = ControlServer(control_socket_path(directory, slot), {**hooks.inquiries(), **own})
    # Between the two: levels that are set meanwhile are in the file, or asked for at the desk.
    levels = LogLevelsFile(directory).of(environ)
    if levels is not None:
        hooks.set_log_levels(levels)
        log.info("log levels taken over", levels=levels)
    desk.open()
    return desk


def routes_of(app: Litestar) -> list[dict[str, Any]]:
    """Every route: its template as metrics and spans have it, its methods, and what handles it.

    Without those for OPTIONS, which Litestar adds to each.
    """
    told = [one for route in app.routes for one in _told(route) if one["methods"] != ["OPTIONS"]]
    return sorted(told, key=lambda one: (one["path"], one["kind"], one["methods"]))


def _told(route: HTTPRoute | WebSocketRoute | ASGIRoute) -> list[dict[str, Any]]:
    if isinstance(route, HTTPRoute):
        kind, handlers = "http", [(sorted(handler.http_methods), handler) for handler in route.route_handlers]
    elif isinstance(route, WebSocketRoute):
        kind, handlers = "websocket", [(["GET"], route.route_handler)]  # type: ignore[list-item]
    else:
        kind, handlers = "asgi", [([], route.route_handler)]  # type: ignore[list-item]
    return [
        {"path": route.path_format, "methods": methods, "kind": kind, "handler": _name(handler)}
        for methods, handler in handlers
    ]


def _name(handler: Any) -> str:
    function = handler.fn
    return (
        f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
    )
