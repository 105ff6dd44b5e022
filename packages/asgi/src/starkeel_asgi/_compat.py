"""The private names of Litestar that this package touches, each probed before it is used."""

import re
from collections import defaultdict
from copy import copy
from hashlib import sha256
from math import isfinite
from pathlib import PurePath
from types import CodeType
from typing import Any, Final, NamedTuple

from litestar import Litestar
from litestar._asgi.utils import is_valid_host  # noqa: PLC2701 - probed together with the router
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, RouteHandlerType, Scope, Send
from litestar.types.empty import Empty
from litestar.utils import normalize_path
from litestar.utils.scope.state import ScopeState

from ._target import is_literal, raw_path_of, why_ambiguous

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
        method: The method that the application receives: GET for a HEAD without a handler of its own.
    """

    app: ASGIApp
    handler: RouteHandlerType
    path: str
    path_params: dict[str, Any]
    template: str
    exception_handlers: Any
    method: Any


class Router:
    """The router of an application, with a cache by path and method.

    Args:
        app: The application.
    """

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self.routes: dict[tuple[Any, Any], Route] = {}
        """Cached routes by raw path and method."""
        self.hosts: set[bytes | None] = set()
        """Cached `Host` headers that are valid and allowed."""
        self.is_direct = _code_digest(type(app.asgi_router).__call__) in _KNOWN_ROUTERS
        """Whether Litestar's router does what the pipeline does with a route from `find`, and nothing else.

        Otherwise requests also pass the router's own call, which is slower.
        """
        self.decides = type(app.asgi_handler).__name__ == _EXCEPTION_HANDLER
        """Whether a request without a route is responded to here: nothing else may have one for it."""
        _complete_allowed_methods(app)

    def find(self, scope: Any) -> Route | None:
        """Return the route of a request; `None` if there is none, or none with this method.

        A path that proxies read differently, or one of two forms of the same path, has no route.
        """
        method, root_path = scope.get("method"), scope.get("root_path", "")
        raw_path, sought = raw_path_of(scope), _sought(scope)
        if why_ambiguous(raw_path) is not None:
            return None
        routed = method
        try:
            found = self._app.asgi_router.handle_routing(path=sought, method=method)
        except HTTPException:
            # The router raises this again where it is handled.
            if method != "HEAD":
                return None
            # A GET without its content (RFC 9110, 9.3.2).
            routed = "GET"
            try:
                found = self._app.asgi_router.handle_routing(path=sought, method="GET")
            except HTTPException:
                return None
        if not _is_only_form(raw_path, sought, found) or not all(map(_is_finite, found[3].values())):
            return None
        route = Route(*found, found[1].resolve_exception_handlers(), routed or "GET")
        # A WebSocket has no method and never finds this.
        if len(raw_path) <= _LONGEST_CACHED and not root_path and "raw_path" in scope:
            if len(self.routes) >= _MAX_ROUTES:
                self.routes.clear()
            self.routes[scope["raw_path"], method] = route
        return route

    def allowed_methods(self, scope: Any) -> frozenset[str] | None:
        """Return the methods of a path; `None` if it does not exist, empty if it is a WebSocket's."""
        sought, route = _sought(scope), self._app.asgi_router.handle_routing
        try:
            route(path=sought, method=_NO_METHOD)
        except MethodNotAllowedException as error:
            methods = set((error.headers or {}).get("allow", "").split(", ")) - {"websocket"}
            found = route(path=sought, method=min(methods, default=None))
            return _with_head(methods) if _is_only_form(raw_path_of(scope), sought, found) else None
        except HTTPException:
            return None
        # An ASGI application takes every method: this is another form of its path.
        return None

    def is_host_valid(self, host: bytes | None, *, is_required: bool) -> bool:
        """Return whether a `Host` header is valid; a repeated one, whose values are joined, is not."""
        # Granian passes a missing header as an empty one, which is invalid as well (RFC 9110, 4.2.1).
        return is_valid_host(host) if host else not is_required

    def add_host(self, host: bytes | None) -> None:
        """Cache a `Host` header that is valid and allowed."""
        if host and len(self.hosts) < _MAX_HOSTS and len(host) <= _LONGEST_CACHED:
            self.hosts.add(host)

    def handle_exceptions(self, scope: Scope) -> None:
        """Let the application's exception handlers respond to a request without a route."""
        ScopeState.from_scope(scope).exception_handlers = self._app.exception_handlers


_NO_METHOD: Final[Any] = " "


def _is_finite(value: Any) -> bool:
    """Return whether a path parameter is no float that JSON lacks: NaN or infinity."""
    return not isinstance(value, float) or isfinite(value)


def _sought(scope: Any) -> str:
    """Return the path that Litestar's router looks up."""
    path, root_path = scope["path"], scope.get("root_path", "")
    return normalize_path(path.split(root_path, maxsplit=1)[-1] if root_path else path)


def _is_only_form(raw_path: str, sought: str, found: Any) -> bool:
    """Return whether a path is the only form of it that a route has."""
    _, handler, path, params, template = found
    segments = [segment for segment in sought.split("/") if segment]
    if getattr(handler, "is_mount", False):
        rest = [segment for segment in path.split("/") if segment]
        return is_literal(raw_path, sought, [*segments[: len(segments) - len(rest)], *[None] * len(rest)])
    takes_rest = any(isinstance(value, PurePath) for value in params.values())
    if raw_path.endswith("/") and sought != "/" and not takes_rest:
        return False
    expected = [None if part.startswith("{") else part for part in template.split("/") if part]
    return is_literal(raw_path, sought, expected)


def _with_head(methods: set[Any]) -> frozenset[Any]:
    return frozenset(methods | {"HEAD"} if "GET" in methods else methods)


def _complete_allowed_methods(app: Litestar) -> None:
    """Have the responses to OPTIONS list all methods of a path.

    Litestar's handler of OPTIONS lists those of the first function that was registered for the path.
    """
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    methods: defaultdict[str, set[Any]] = defaultdict(set)
    for route in routes:
        methods[_PARAMETER.sub("{}", route.path_format)] |= route.methods
    for route in routes:
        allowed = _with_head(methods[_PARAMETER.sub("{}", route.path_format)])
        for function in (handler.fn for handler in route.route_handlers):
            if getattr(function, "__qualname__", "").startswith(_OPTIONS_OF_LITESTAR):
                # A closure of the route that it was made for.
                [cell] = function.__closure__ or [None]
                if cell is not None and isinstance(cell.cell_contents, HTTPRoute):
                    cell.cell_contents.methods = set(allowed)


_OPTIONS_OF_LITESTAR: Final = "HTTPRoute.create_options_handler."
_PARAMETER: Final = re.compile("{[^}]*}")
_KNOWN_ROUTERS: Final = frozenset({"4eb162080a27c3d5b703506c3ca524b87184dabf26bad04d413c1ef81172231a"})
"""Digests of `ASGIRouter.__call__` in the releases whose router was read: Litestar 2.25."""


def _code_digest(function: Any) -> str:
    """Return a digest of what a function refers to, in the order of its code.

    It is the same for each version of Python, and needs no source, which images lack and which takes longer
    to read.
    """
    code = getattr(function, "__code__", None)
    return "" if code is None else sha256(repr(_references(code, function.__doc__)).encode()).hexdigest()


def _references(code: CodeType, docstring: str | None = None) -> list[object]:
    """Return the names, texts and bytes that a function and the functions inside it contain."""
    texts = [each for each in code.co_consts if isinstance(each, str | bytes) and each != docstring]
    inner = [_references(each) for each in code.co_consts if isinstance(each, CodeType)]
    return [code.co_names, code.co_varnames, texts, inner]
