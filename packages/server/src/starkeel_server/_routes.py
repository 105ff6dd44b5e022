"""The routes of an application, as operators ask for them."""

from typing import Any

from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute


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
