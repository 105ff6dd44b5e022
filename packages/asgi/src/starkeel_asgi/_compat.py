"""The private names of Litestar that this package touches, each probed before it is used."""

from copy import copy
from hashlib import sha256
from inspect import getsource
from typing import Any, Final

from litestar import Litestar
from litestar._asgi.utils import is_valid_host  # noqa: PLC2701 - probed together with the router
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.types.empty import Empty
from litestar.utils import normalize_path
from litestar.utils.scope.state import ScopeState

_EXCEPTION_HANDLER: Final = "ExceptionHandlerMiddleware"
_RAISED: Final = "starkeel_asgi.raised"


def split_exception_handler(app: Litestar) -> tuple[ASGIApp, ASGIApp | None]:
    """Return what serves a request, and what responds to an exception in the scope's state.

    Litestar wraps its router in an exception handler, which passes each message through one more coroutine
    to learn whether the response has started. An exchange has that fact already.

    Args:
        app: The application. The second is `None` where something else wraps the router (Litestar's CORS), or
            where Litestar's class has an unexpected shape: requests then take the slower path.
    """
    handler: Any = app.asgi_handler
    if type(handler).__name__ != _EXCEPTION_HANDLER or getattr(handler, "app", None) is not app.asgi_router:
        return handler, None
    responding = copy(handler)
    responding.app = _raise
    return handler.app, responding


async def respond_to(handler: ASGIApp, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Have Litestar respond to an exception of the application."""
    state: Any = scope["state"]
    state[_RAISED] = error
    try:
        await handler(scope, receive, send)
    finally:
        state.pop(_RAISED, None)


def forget_start(scope: Scope) -> None:
    """Let Litestar respond with an error: the response that it started was not sent."""
    ScopeState.from_scope(scope).response_started = False


def forget_response(scope: Scope) -> None:
    """Let Litestar execute a route again."""
    state = ScopeState.from_scope(scope)
    state.response_started, state.dependency_cache = False, Empty


async def _raise(scope: Scope, _receive: Receive, _send: Send) -> None:
    error: Exception = scope["state"][_RAISED]
    raise error


class RouterInternals:
    """Litestar's router, taken apart.

    Args:
        app: The application.
    """

    def __init__(self, app: Litestar) -> None:
        self._router = app.asgi_router
        self.is_known = _source_digest(type(app.asgi_router).__call__) in _KNOWN_ROUTERS
        """Whether the router does exactly what `route`, `is_valid_host` and `enter` do.

        Otherwise requests also pass the router's own call, which is slower.
        """

    def route(self, path: str, method: Any, root_path: str) -> tuple[Any, ...]:
        """Return application, handler, path, path parameters, template and exception handlers of a route.

        Raises:
            HTTPException: There is no route, or not with this method.
        """
        if root_path:
            path = path.split(root_path, maxsplit=1)[-1]
        app, handler, path, params, template = self._router.handle_routing(
            path=normalize_path(path), method=method
        )
        return app, handler, path, params, template, handler.resolve_exception_handlers()

    @staticmethod
    def is_valid_host(host: bytes) -> bool:
        """Return whether Litestar accepts a `Host` header."""
        return is_valid_host(host)

    @staticmethod
    def enter(scope: Any, route: Any) -> None:
        """Set what Litestar's router sets for the application of a route."""
        _, handler, scope["path"], scope["path_params"], scope["path_template"], handlers = route
        scope["route_handler"] = handler
        ScopeState.from_scope(scope).exception_handlers = handlers


_KNOWN_ROUTERS: Final = frozenset(
    {
        # Litestar 2.25
        "28fd699095d9e268a07c295908502f3b179ae3ff49879c52d5ed220f283aff5c",
    }
)
"""SHA-256 of the source of `ASGIRouter.__call__` in the releases whose router was read."""


def _source_digest(function: Any) -> str:
    try:
        return sha256(getsource(function).encode()).hexdigest()
    except OSError:
        return ""
