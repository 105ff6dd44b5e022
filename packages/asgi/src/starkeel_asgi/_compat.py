"""The private names of Litestar that this package touches, each probed before it is used."""

from copy import copy
from hashlib import sha256
from inspect import getsource
from typing import Any, Final, NamedTuple

from litestar import Litestar
from litestar._asgi.utils import is_valid_host  # noqa: PLC2701 - probed together with the router
from litestar.exceptions import ClientException, HTTPException
from litestar.types import ASGIApp, Receive, RouteHandlerType, Scope, Send
from litestar.types.empty import Empty
from litestar.utils import normalize_path
from litestar.utils.scope.state import ScopeState

_EXCEPTION_HANDLER: Final = "ExceptionHandlerMiddleware"
_MAX_ROUTES: Final = 1024
_MAX_HOSTS: Final = 64
_LONGEST_CACHED: Final = 256
"""Longer paths and hosts are not cached: clients choose them."""


def split_exception_handler(app: Litestar) -> tuple[ASGIApp, ASGIApp | None]:
    """Return what serves a request, and what responds to an exception.

    Litestar wraps its router in an exception handler, which passes each message through one more coroutine
    to learn whether the response has started. An exchange has that fact already.

    Args:
        app: The application. The second is `None` where something else wraps the router (Litestar's CORS), or
            where Litestar's class has an unexpected shape: requests then take the slower path.
    """
    handler: Any = app.asgi_handler
    if type(handler).__name__ != _EXCEPTION_HANDLER or getattr(handler, "app", None) is not app.asgi_router:
        return handler, None
    return handler.app, handler


async def respond_to(handler: ASGIApp, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Have Litestar respond to an exception of the application."""

    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    responding: Any = copy(handler)
    responding.app = fail
    await responding(scope, receive, send)


def forget_start(scope: Scope) -> None:
    """Let Litestar respond with an error: the response that it started was not sent."""
    ScopeState.from_scope(scope).response_started = False


def forget_response(scope: Scope) -> None:
    """Let Litestar execute a route again."""
    state = ScopeState.from_scope(scope)
    state.response_started, state.dependency_cache = False, Empty


class Route(NamedTuple):
    """The route of a request.

    Attributes:
        app: The ASGI application of the route: handler and middleware.
        path: The path for the application, without the prefix of a mount.
        template: Path template, such as `/items/{item_id}`.
    """

    app: ASGIApp
    handler: RouteHandlerType
    path: str
    path_params: dict[str, Any]
    template: str
    exception_handlers: Any


class Router:
    """The router of an application, with a cache by path and method.

    Args:
        app: The application.
    """

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self.routes: dict[tuple[Any, Any], Route] = {}
        """Cached routes by path and method."""
        self.hosts: set[bytes | None] = set()
        """Cached valid `Host` headers."""
        self.is_direct = _source_digest(type(app.asgi_router).__call__) in _KNOWN_ROUTERS
        """Whether Litestar's router does what the pipeline does with a route from `find`, and nothing else.

        Otherwise requests also pass the router's own call, which is slower.
        """

    def find(self, scope: Any) -> Route | None:
        """Return the route of a request; `None` if there is none, or none with this method."""
        path, method, root_path = scope["path"], scope.get("method"), scope.get("root_path", "")
        sought = normalize_path(path.split(root_path, maxsplit=1)[-1] if root_path else path)
        try:
            found = self._app.asgi_router.handle_routing(path=sought, method=method)
        except HTTPException:
            # The router raises this again where it is handled.
            return None
        route = Route(*found, found[1].resolve_exception_handlers())
        # A WebSocket has no method and never finds this.
        if len(path) <= _LONGEST_CACHED and not root_path:
            if len(self.routes) >= _MAX_ROUTES:
                self.routes.clear()
            self.routes[path, method] = route
        return route

    def check_host(self, scope: Scope, host: bytes | None) -> None:
        """Check the `Host` header; the values of a repeated one are joined, and so invalid.

        Raises:
            ClientException: It is invalid, or missing in HTTP/1.1 (RFC 9112, 3.2).
        """
        # Granian passes a missing header as an empty one, which is invalid as well (RFC 9110, 4.2.1).
        if not (is_valid_host(host) if host else scope.get("http_version") != "1.1"):
            ScopeState.from_scope(scope).exception_handlers = self._app.exception_handlers
            raise ClientException("Invalid host header")
        if host and len(self.hosts) < _MAX_HOSTS and len(host) <= _LONGEST_CACHED:
            self.hosts.add(host)


_KNOWN_ROUTERS: Final = frozenset({"28fd699095d9e268a07c295908502f3b179ae3ff49879c52d5ed220f283aff5c"})
"""SHA-256 of the source of `ASGIRouter.__call__` in the releases whose router was read: Litestar 2.25."""


def _source_digest(function: Any) -> str:
    try:
        return sha256(getsource(function).encode()).hexdigest()
    except OSError:
        return ""
