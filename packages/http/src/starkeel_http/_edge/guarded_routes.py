"""Attach the guards of rate limits per user to the routes of an application."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from litestar import Router
from litestar.handlers import BaseRouteHandler

from .._base.route_options import user_limits
from .._rate_limit.limiter import Limiter
from .user_limit import UserLimit


def with_user_limits(route: Any, limiter: Limiter) -> Any:
    """Return a route in which a `UserLimit` is the last guard of each handler with a limit per user.

    Litestar resolves guards when it registers a route, so they are attached before; to a copy, as another
    application may have the same route.

    Args:
        route: A handler, controller or router.
        limiter: Counts the requests.
    """
    if isinstance(route, BaseRouteHandler):
        handler = copy(route)
        return handler if _add_guard(handler, route.opt, limiter) else route
    # A router without options of its own: it registers copies of the handlers.
    router = Router("/", route_handlers=[route])
    handlers = {id(handler): handler for each in router.routes for handler in _handlers(each)}.values()
    is_limited = [_add_guard(handler, _options(handler), limiter) for handler in handlers]
    return router if any(is_limited) else route


def _add_guard(handler: BaseRouteHandler, opt: Mapping[str, Any], limiter: Limiter) -> bool:
    names = user_limits(opt)
    if names:
        handler.guards = [*(handler.guards or ()), UserLimit(limiter, names)]
    return bool(names)


def _options(handler: BaseRouteHandler) -> dict[str, Any]:
    return {name: value for layer in handler.ownership_layers for name, value in (layer.opt or {}).items()}


def _handlers(route: Any) -> list[BaseRouteHandler]:
    return route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
