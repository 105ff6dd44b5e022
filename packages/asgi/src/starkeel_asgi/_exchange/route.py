"""The route of a request."""

from typing import Any, NamedTuple

from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp


class Route(NamedTuple):
    """The route of a request.

    Attributes:
        app: The ASGI application of the route: handler and middleware.
        handler: The route handler.
        path: The path for the application, without the prefix of a mount.
        path_params: Path parameters.
        template: Path template, such as `/items/{item_id}`.
        exception_handlers: Exception handlers of the route.
    """

    app: ASGIApp
    handler: BaseRouteHandler
    path: str
    path_params: dict[str, Any]
    template: str
    exception_handlers: Any
