"""The private names of Litestar that this package touches, each probed before it is used."""

from copy import copy
from typing import Any, Final

from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.types.empty import Empty
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
