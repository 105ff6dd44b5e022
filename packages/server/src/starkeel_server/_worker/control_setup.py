"""Starts a worker's control server and applies log levels set before the worker started."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute

from .._app.plugin_hooks import PluginHooks
from .._control.log_levels import read_levels
from .._control.server import ControlServer

log = structlog.get_logger(__name__)


def start_control_server(
    directory: Path, slot: int, *, app: Litestar, hooks: PluginHooks, environ: Mapping[str, str]
) -> ControlServer:
    """Start the control server of the worker in a slot and apply the log levels an operator has set."""

    def set_log_levels(params: Mapping[str, str]) -> dict[str, Any]:
        hooks.set_log_levels(params["levels"])
        return {"levels": params["levels"]}

    own = {"routes": lambda _: {"routes": _routes(app)}, "set_log_levels": set_log_levels}
    control = ControlServer(directory, slot, {**hooks.inquiries(), **own})
    # After the socket is bound, before it answers: levels set meanwhile are in the file or in its backlog.
    if (levels := read_levels(directory, environ)) is not None:
        hooks.set_log_levels(levels)
        log.info("log levels applied", levels=levels)
    control.start()
    return control


def _routes(app: Litestar) -> list[dict[str, Any]]:
    """Return every route: path template as in metrics and spans, methods, kind and handler.

    The OPTIONS routes that Litestar adds are left out.
    """
    routes = [entry for route in app.routes for entry in _describe(route) if entry["methods"] != ["OPTIONS"]]
    return sorted(routes, key=lambda entry: (entry["path"], entry["kind"], entry["methods"]))


def _describe(route: HTTPRoute | WebSocketRoute | ASGIRoute) -> list[dict[str, Any]]:
    if isinstance(route, HTTPRoute):
        kind, handlers = "http", [(sorted(handler.http_methods), handler) for handler in route.route_handlers]
    elif isinstance(route, WebSocketRoute):
        kind, handlers = "websocket", [(["GET"], route.route_handler)]  # type: ignore[list-item]
    else:
        kind, handlers = "asgi", [([], route.route_handler)]  # type: ignore[list-item]
    return [
        {"path": route.path_format, "methods": methods, "kind": kind, "handler": _name(handler.fn)}
        for methods, handler in handlers
    ]


def _name(function: Any) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{getattr(function, '__module__', '')}.{name}"
