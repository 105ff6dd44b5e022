"""Finds the route of a request, once for all layers and for Litestar."""

from typing import Any, Final

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.types import Scope

from .._compat import RouterInternals
from .._exchange.route import Route

_MAX_ROUTES: Final = 1024
_MAX_HOSTS: Final = 64
_LONGEST_PATH: Final = 256
"""Longer paths are not cached: clients choose them."""


class Router:
    """The router of an application, with a cache by path and method.

    Args:
        app: The application.
    """

    def __init__(self, app: Litestar) -> None:
        self._internals = RouterInternals(app)
        self.routes: dict[tuple[Any, Any], Route] = {}
        """Cached routes by path and method."""
        self.hosts: set[bytes | None] = {None}
        """Cached valid `Host` headers."""
        self.is_direct = self._internals.is_known
        """Whether `enter` does all that Litestar's router does, so that its own call is not needed."""
        self.enter = self._internals.enter

    def find(self, scope: Scope) -> Route | None:
        """Return the route of a request; `None` if there is none, or none with this method."""
        path, method, root_path = scope["path"], scope.get("method"), scope.get("root_path", "")
        try:
            route = Route(*self._internals.route(path, method, root_path))
        except HTTPException:
            # The router raises this again where it is handled.
            return None
        # A WebSocket has no method and never finds this.
        if len(path) <= _LONGEST_PATH and not root_path:
            if len(self.routes) >= _MAX_ROUTES:
                self.routes.clear()
            self.routes[path, method] = route
        return route

    def is_valid_host(self, host: bytes) -> bool:
        """Return whether Litestar accepts a `Host` header."""
        is_valid = self._internals.is_valid_host(host)
        if is_valid and len(self.hosts) < _MAX_HOSTS and len(host) <= _LONGEST_PATH:
            self.hosts.add(host)
        return is_valid
