"""The guard that counts users, and its place in routes."""

from collections.abc import Mapping
from copy import copy
from hashlib import blake2b
from typing import Any, Final, final

from litestar import Controller, Router
from litestar.connection import ASGIConnection, WebSocket
from litestar.exceptions import HTTPException, ImproperlyConfiguredException, WebSocketException
from litestar.handlers import BaseRouteHandler
from starkeel_asgi import HttpExchange, WebSocketExchange, current

from .._base.rate import Rate
from .._base.route_options import limits_of
from .limiter import Limiter
from .rules import Usage
from .streams import StreamLimits, is_stream

_DIGEST_BYTES: Final = 16
_WEBSOCKET_CODES_FROM: Final = 4000


@final
class UserLimit:
    """Guard that counts a user's requests against the limits of these names, and open streams."""

    def __init__(self, limiter: Limiter, names: tuple[str, ...], streams: StreamLimits | None) -> None:
        self._limiter = limiter
        self._names = names
        self._streams = streams

    def __deepcopy__(self, _: object) -> "UserLimit":
        # Litestar copies the guards of controllers and routers; the limiter is shared.
        return self

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Count a request of the authenticated user.

        Raises:
            TooManyRequestsException: A limit is exceeded.
            ServiceUnavailableException: Redis is unavailable and requests are refused.
            WebSocketException: Either of them on a WebSocket, with 4000 plus the status as close code.
            ImproperlyConfiguredException: No guard before this one authenticated the user.
        """
        subject = getattr(connection.scope.get("user"), "subject", None)
        if not isinstance(subject, str):
            if not self._names:
                # A stream without users.
                return
            raise ImproperlyConfiguredException(
                f"{handler} has a rate limit per user, but no guard before it set `scope['user']`"
            )
        exchange = current(connection.scope)
        assert isinstance(exchange, HttpExchange | WebSocketExchange)
        # Hashed: Redis may be shared, and keys must not contain identities.
        key = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
        try:
            await self._limiter.count(exchange, [Usage(name, key) for name in self._names])
            if self._streams is not None:
                self._streams.count(exchange, "user", key)
        except HTTPException as error:
            if not isinstance(connection, WebSocket):
                raise
            code = _WEBSOCKET_CODES_FROM + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error


def with_user_limits(route: Any, rates: Mapping[str, Rate], limiter: Limiter, streams: StreamLimits) -> Any:
    """Return a route in which a `UserLimit` is the last guard of streams and of handlers with such a limit.

    Litestar resolves guards when it registers a route, so they are attached before; to a copy, as another
    application may have the same route, which is a handler, controller or router.
    """
    if isinstance(route, BaseRouteHandler):
        handler = copy(route)
        return (
            handler if _add_guard(handler, limits_of(route.opt, rates)["user"], limiter, streams) else route
        )
    if isinstance(route, type) and issubclass(route, Controller) and not _may_be_limited(route, rates):
        return route
    # A router without options of its own: it registers copies of the handlers.
    router = Router("/", route_handlers=[route])
    handlers = {id(handler): handler for each in router.routes for handler in _handlers(each)}.values()
    is_limited = [
        _add_guard(handler, limits_of(_options(handler), rates)["user"], limiter, streams)
        for handler in handlers
    ]
    return router if any(is_limited) else route


def _may_be_limited(controller: type[Controller], rates: Mapping[str, Rate]) -> bool:
    """Return whether a controller or one of its handlers has such a limit, or is a stream."""
    attributes = (getattr(controller, name) for name in dir(controller))
    handlers = [each for each in attributes if isinstance(each, BaseRouteHandler)]
    # A controller without options has the descriptor of a slot.
    own = getattr(controller, "opt", None)
    options = (own if isinstance(own, Mapping) else {}, *(handler.opt for handler in handlers))
    return any(limits_of(each, rates)["user"] for each in options) or any(map(is_stream, handlers))


def _add_guard(
    handler: BaseRouteHandler, names: tuple[str, ...], limiter: Limiter, streams: StreamLimits
) -> bool:
    counted = streams if is_stream(handler) else None
    if not names and counted is None:
        return False
    handler.guards = [*(handler.guards or ()), UserLimit(limiter, names, counted)]
    return True


def _options(handler: BaseRouteHandler) -> dict[str, Any]:
    return {name: value for layer in handler.ownership_layers for name, value in (layer.opt or {}).items()}


def _handlers(route: Any) -> list[BaseRouteHandler]:
    return route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
